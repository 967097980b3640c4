# Says what a host has, one `key=value` a line: look.sh APPLIED_FILE DIRECTORIES BRIDGE PACKAGE…
applied=$1
directories=$2
bridge=$3
shift 3
. /etc/os-release
echo "codename=$VERSION_CODENAME"
echo "packages=$(dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
    awk '$1 == "installed" {printf "%s ", $2}')"
echo "directories=$(stat --format '%F %a %U %G %n' $directories 2>/dev/null |
    awk '$1 == "directory" && $2 == "755" && $3 == "root" && $4 == "root" {printf "%s ", $5}')"
echo "dockerd=$(command -v dockerd)"
echo "daemon=$(base64 -w 0 /etc/docker/daemon.json 2>/dev/null)"
echo "daemon_mode=$(stat --format '%a %U %G' /etc/docker/daemon.json 2>/dev/null)"
echo "applied=$(base64 -w 0 "$applied" 2>/dev/null)"
# How the engine is started: by its unit, and by the variable that Debian's unit reads.
echo "argv=$(systemctl show docker.service --property ExecStart --value 2>/dev/null | sed -n 's/.*argv\[\]=\([^;]*\) ;.*/\1/p')" \
    "$(sed -n 's/^ *DOCKER_OPTS=//p' /etc/default/docker 2>/dev/null | tr -d "\"'" | paste -s -d ' ')"
echo "active=$(systemctl is-active docker.service 2>/dev/null)"
echo "enabled=$(systemctl is-enabled docker.service 2>/dev/null)"
# Empty, too, where Docker's network is there and the bridge is not.
echo "bridge=$([ ! -e "/sys/class/net/$bridge" ] || docker network inspect --format \
    '{{.Driver}} {{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 0).Gateway}} {{index .Options "com.docker.network.bridge.name"}}' \
    "$bridge" 2>/dev/null)"
echo "running=$(docker ps --quiet 2>/dev/null | wc -l)"
