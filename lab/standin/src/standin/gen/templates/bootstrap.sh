#!/bin/bash
# Runs before every unit that needs ZooKeeper. Plain bash: it is started over and over until ZooKeeper serves.
set -u
all_masters=@all_masters@
lib=/var/lib/dcos
stat_file=$lib/bootstrap/exhibitor_pid_stat

if [[ "${1:-}" == dcos-cluster-id ]]; then
    [[ -s $lib/cluster-id ]] || { echo "no cluster id yet" >&2; exit 1; }
    cat $lib/cluster-id
    exit 0
fi

# One request to the local port $1 with the text $2; the answer goes to $answer.
ask() {
    answer=
    exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf '%b' "$2" >&3
    local line
    while IFS= read -r -t 5 line <&3 || [[ -n "$line" ]]; do answer+=$line$'\n'; done
    exec 3>&-
    [[ -n "$answer" ]]
} 2>/dev/null

pid_stat() { stat -c '%Y.%i' $lib/exhibitor/zk.pid 2>/dev/null; }

every_master_serves() {
    local current count serving rest
    current=$(pid_stat) || return 1
    # The same ZooKeeper process was found in order before: that is enough.
    [[ "$current" == "$(cat $stat_file 2>/dev/null)" ]] && return 0
    ask 8181 'GET /exhibitor/v1/cluster/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' || return 1
    count=$(</opt/mesosphere/etc/master_count)
    rest=${answer//\"code\": 3/}
    serving=$(( (${#answer} - ${#rest}) / 9 ))
    rest=${answer//\"isLeader\": true/}
    (( serving == count && (${#answer} - ${#rest}) / 16 == 1 )) || return 1
    mkdir -p "${stat_file%/*}"
    echo "$current" >"$stat_file"
}

local_mode_is_good() {
    ask 2181 srvr || return 1
    if [[ "$(</opt/mesosphere/etc/master_count)" == 1 ]]; then
        [[ "$answer" == *"Mode: standalone"* ]]
    else
        [[ "$answer" == *"Mode: leader"* || "$answer" == *"Mode: follower"* ]]
    fi
}

exec 4<> <(:)
for (( try = 0; try < 20; try++ )); do
    if (( all_masters )); then every_master_serves && exit 0; else local_mode_is_good && exit 0; fi
    # A pause without starting a process.
    read -r -t 1 -u 4
done
echo "ZooKeeper is not ready for ${1:-this unit}" >&2
exit 1
