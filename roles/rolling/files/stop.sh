# Stops all units of DC/OS and keeps them from starting at the next boot. Prints a line for each change.
set -u
for unit in dcos.target dcos-setup.service; do
    if systemctl is-enabled --quiet "$unit" 2>/dev/null; then
        systemctl disable --quiet "$unit" || exit 1
        echo "disabled $unit"
    fi
done
wanted=$(systemctl show -p Wants dcos.target | cut -d= -f2)
# A stopped host lost its target's wants with the target: look at what runs, too.
running=$(systemctl list-units --plain --no-legend --state=active,activating,reloading 'dcos-*' | cut -d' ' -f1)
for unit in $running; do
    case $unit in
        dcos-bootstrap-web.service) ;;
        *) wanted="$wanted $unit" ;;
    esac
done
for unit in dcos.target $wanted; do
    if systemctl is-active --quiet "$unit"; then
        echo "stopped $unit"
    fi
done
if [ -n "$wanted" ]; then
    systemctl stop -- dcos.target $wanted || exit 1
fi
