"""Programs in the place of adb, ssh and the server."""

from __future__ import annotations

# Both run the device's scripts here, and write down what they are asked for.
ADB = """#!/bin/sh
echo "adb $*" >>log
[ "$1" = devices ] && exec cat devices
shift 2
case "$1" in
shell) cd phone && exec sh -c "$2" ;;
push) [ -e full ] && echo "adb: error: failed to copy: remote No space left on device" >&2 && exit 1
  cd phone && cp -r "$2" "$3" ;;
forward | reverse) [ -e "no-$1" ] && echo "adb: error: cannot bind listener: Address already in use" >&2 && exit 1 ;;
esac
exit 0
"""
SSH = """#!/bin/sh
echo "ssh $*" >>log
if [ -e refusal ]; then cat refusal >&2; exit 255; fi
while :; do
  case "$1" in
  -S) socket=$2; shift ;;
  -f) background=1 ;;
  -Oexit) rm "$socket"; exit 0 ;;
  -*) ;;
  *) break ;;
  esac
  shift
done
[ -n "$background" ] && { touch "$socket"; sleep 100 >&- 2>&- & echo $! >tunnel; exit 0; }
cd phone && exec sh -c "$2"
"""
# In the place of the bundle's; the last of its words are checked.
RUN = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$*" >arguments
{0}
"""
SERVES = 'echo "listening on 127.0.0.1:$4"; exec sleep 100'
