#!/usr/bin/env bash
# Bring new models into the catalog's folders, then have llmsup look at its config and its folders.
#
#   sync_and_reload.sh                         # llmsup's own bridge: POST /bridge
#   sync_and_reload.sh COMMAND [ARGUMENT...]   # a bridge of your own, or any program that brings models
#   sync_and_reload.sh --url http://127.0.0.1:5005 ...
#
# Then POST /reload-config, whose answer is printed. If the first step fails, there is no reload, and the exit code
# is the command's, or 1. The server is $LLMSUP_URL, else http://127.0.0.1:5005; its key, if it has one, is taken from
# $LLMSUP_API_KEY. For cron: 0 * * * *
set -euo pipefail

fail() { printf 'sync_and_reload: %s\n' "$2" >&2; exit "$1"; }

header() {
    if [ -n "${LLMSUP_API_KEY:-}" ]; then printf 'Authorization: Bearer %s\n' "$LLMSUP_API_KEY"; fi
}

# post PATH: prints the answer's body. The key goes through a pipe: everybody can see a command's arguments.
# What a terminal would obey is taken out of the answer.
post() {
    local answer status
    answer=$(curl --silent --show-error --noproxy localhost,127.0.0.1,::1 --connect-timeout 10 --request POST \
        --header 'Content-Type: application/json' --header @<(header) --data '{}' \
        --write-out '\n%{http_code}' -- "${url%/}$1" | LC_ALL=C tr -d '\000-\011\013-\037\177') ||
        fail 1 "no answer from $url"
    status=${answer##*$'\n'}
    answer=${answer%$'\n'*}
    case $status in
        2??) printf '%s\n' "${answer%$'\n'}" ;;
        404) fail 1 "there is no POST $1 at $url (HTTP 404): name a bridge as an argument, or check the address" ;;
        401) fail 1 "$url wants a key: set LLMSUP_API_KEY" ;;
        *) fail 1 "POST $1 failed (HTTP $status): $answer" ;;
    esac
}

url=${LLMSUP_URL:-http://127.0.0.1:5005}
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) sed -n '2,/^set/s/^#\( \|$\)//p' "$0"; exit 0 ;;
        --url) [ $# -gt 1 ] || fail 2 "--url needs an address"; url=$2; shift 2 ;;
        --url=*) url=${1#--url=}; shift ;;
        --) shift; break ;;
        -*) fail 2 "there is no option $1; try --help" ;;
        *) break ;;
    esac
done
case $url in http://* | https://*) ;; *) fail 2 "'$url' is no address; write it like http://127.0.0.1:5005" ;; esac
command -v curl >/dev/null || fail 1 "it needs curl"

if [ $# -gt 0 ]; then
    "$@" || fail $? "$1 failed with exit code $?; llmsup was not told"
else
    post /bridge
fi
post /reload-config
