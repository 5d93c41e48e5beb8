# The work of steps.yml as a careful person would write it for a shell: look first, change only what differs.
# Read by `sh -s NAME_OF_HOST` on each host.
set -eu
export LC_ALL=C
host=$1
root=/srv/bench
peers="10.79.0.11 10.79.0.12 10.79.0.13"

# folder PATH MODE
folder() {
    [ -d "$1" ] || mkdir "$1"
    own "$1" root:root "$2"
}

# own PATH OWNER:GROUP MODE
own() {
    [ "$(stat -c '%U:%G %04a' "$1")" = "$2 $3" ] || {
        chown "$2" "$1"
        chmod "$3" "$1"
    }
}

# content PATH OWNER:GROUP MODE, the content on standard input; replaced whole or not at all
content() {
    cat >"$1.new"
    own "$1.new" "$2" "$3"
    if [ -e "$1" ] && cmp -s "$1" "$1.new" && [ "$(stat -c '%U:%G %04a' "$1")" = "$2 $3" ]; then
        rm "$1.new"
    else
        mv "$1.new" "$1"
    fi
}

# line PATH REGEXP LINE: the last line that matches becomes LINE, or LINE comes at the end
line() {
    grep -qx -- "$3" "$1" && return 0
    if grep -q -- "$2" "$1"; then
        sed "s/$2.*/$3/" "$1" >"$1.new"
    else
        { cat "$1"; echo "$3"; } >"$1.new"
    fi
    own "$1.new" "$(stat -c '%U:%G %04a' "$1" | cut -d' ' -f1)" "$(stat -c %04a "$1")"
    mv "$1.new" "$1"
}

account() {
    getent passwd "$1" >/dev/null || useradd --system --no-create-home --gid "$2" --shell /usr/sbin/nologin "$1"
}

service() {
    {
        echo "# $1 on $host"
        echo "[$1]"
        echo "port = $2"
        echo "workers = $3"
        for peer in $peers; do echo "peer = $peer"; done
        echo "log = $root/logs/$1.log"
    } | content "$root/conf/$1.conf" root:root 0644
}

folder "$root" 0755
folder "$root/conf" 0755
folder "$root/data" 0750
folder "$root/logs" 0755
folder "$root/bin" 0755
getent group benchapp >/dev/null || groupadd --system benchapp
getent group benchops >/dev/null || groupadd --system benchops
account benchapp benchapp
account benchbatch benchapp
account benchops benchops
printf 'SERVICE=api\nLEVEL=0\n' | content "$root/conf/api.env" root:benchapp 0640
printf 'SERVICE=auth\nLEVEL=1\n' | content "$root/conf/auth.env" root:benchapp 0640
printf 'SERVICE=batch\nLEVEL=2\n' | content "$root/conf/batch.env" root:benchapp 0640
printf 'SERVICE=cache\nLEVEL=3\n' | content "$root/conf/cache.env" root:benchapp 0640
printf 'SERVICE=index\nLEVEL=4\n' | content "$root/conf/index.env" root:benchapp 0640
printf 'SERVICE=queue\nLEVEL=5\n' | content "$root/conf/queue.env" root:benchapp 0640
printf 'SERVICE=web\nLEVEL=6\n' | content "$root/conf/web.env" root:benchapp 0640
service api 8001 4
service auth 8002 2
service batch 8003 1
service cache 8004 2
service index 8005 1
service queue 8006 2
service web 8007 8
line "$root/conf/api.env" '^LEVEL=' 'LEVEL=9'
line "$root/conf/auth.env" '^LEVEL=' 'LEVEL=9'
line "$root/conf/batch.env" '^TOKEN=' 'TOKEN=none'
line "$root/conf/cache.env" '^SIZE=' 'SIZE=64'
line "$root/conf/index.env" '^SIZE=' 'SIZE=128'
line "$root/conf/queue.env" '^LEVEL=' 'LEVEL=8'
line "$root/conf/web.env" '^TLS=' 'TLS=off'
line "$root/conf/web.env" '^LEVEL=' 'LEVEL=7'
uname -r
id -u benchapp
getent group benchops
sha256sum "$root/conf/api.conf"
wc -l "$root/conf/web.conf"
[ -e "$root/data/api.saved" ] || cp "$root/conf/api.conf" "$root/data/api.saved"
[ -e "$root/data/web.saved" ] || cp "$root/conf/web.conf" "$root/data/web.saved"
test -d "$root/logs"
stat "$root/conf/api.conf"
stat "$root/conf/web.env"
stat "$root/data/api.saved"
stat "$root/data/missing" || true
stat "$root/logs"
stat "$root/bin"
[ "$(readlink "$root/current")" = "$root/data" ] || ln -sfn "$root/data" "$root/current"
[ "$(stat -c %04a "$root/conf/web.env")" = 0600 ] || chmod 0600 "$root/conf/web.env"
rm -f "$root/data/web.saved"
