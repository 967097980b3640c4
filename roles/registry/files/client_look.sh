# Says what a host has to pull images with, a line each: client_look.sh TRUST_DIR DOCKER_CONFIG REGISTRY
trust=$1
config=$2
registry=$3
stat --format '%F %a %U %G' "$trust" 2>/dev/null
[ ! -f "$trust/ca.crt" ] || echo "file $(stat --format '%a %U %G' "$trust/ca.crt") $(sha256sum "$trust/ca.crt" | cut -d ' ' -f 1)"
login=$(tr -d ' \t\n' 2>/dev/null < "$config" | sed -n "s|.*\"$registry\":{\"auth\":\"\([^\"]*\)\".*|\1|p")
[ -z "$login" ] || echo "login $(printf %s "$login" | sha256sum | cut -d ' ' -f 1)"
