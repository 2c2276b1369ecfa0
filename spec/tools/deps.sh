#!/bin/sh
# deps.sh GROUP... - installs the Debian packages of these groups that are missing; says nothing when all are there.
#
# A package counts as there when what it brings can be found (so a library built by hand will do), or when dpkg has
# it. Only if something is missing is the network touched.
set -eu

# Prints lines "package probe": pc:MODULE asks pkg-config, cmd:NAME the PATH, lua:NAME Lua, file:PATH the disk.
packages() {
  case $1 in
    build)
      echo pkg-config cmd:pkg-config
      echo libc6-dev file:/usr/include/stdio.h
      echo lua5.4 cmd:lua5.4
      echo liblua5.4-dev pc:lua5.4
      echo libsqlite3-dev pc:sqlite3
      echo libuv1-dev pc:libuv
      echo libcbor-dev pc:libcbor
      echo libsodium-dev pc:libsodium
      echo libcurl4-openssl-dev pc:libcurl
      echo lua-cjson lua:cjson
      echo lua-argparse lua:argparse
      ;;
    demo)
      packages build
      echo lua-socket lua:socket
      ;;
    test)
      packages demo
      echo lua-busted file:/usr/bin/busted
      echo sqlite3 cmd:sqlite3
      echo openssl cmd:openssl
      echo tidy cmd:tidy
      echo lua-sec lua:ssl
      echo python3-aiosmtpd file:/usr/lib/python3/dist-packages/aiosmtpd
      echo python3-prometheus-client file:/usr/lib/python3/dist-packages/prometheus_client
      echo lua-sql-sqlite3 lua:luasql.sqlite3
      echo lua-luv lua:luv
      echo lua-cqueues lua:cqueues
      echo lua-copas dpkg
      echo luarocks cmd:luarocks
      echo tzdata file:/usr/share/zoneinfo/Europe/Berlin
      ;;
    lint)
      echo clang-format-14 cmd:clang-format-14
      echo cppcheck cmd:cppcheck
      echo lua-check cmd:luacheck
      ;;
    bench) # what tasklets are measured beside, and the server of the fetches
      packages demo
      echo lua-cqueues lua:cqueues
      echo lua-http dpkg
      echo lua-copas dpkg
      echo lua-luv lua:luv
      ;;
    browser) # what the browser pages are looked at with
      echo chromium cmd:chromium
      echo nodejs cmd:node
      echo npm cmd:npm
      ;;
    docs) echo cmark-gfm cmd:cmark-gfm ;; # what `make docs` reads Markdown with
    promtool) echo prometheus cmd:promtool ;; # large: specs of metrics go without it
    valgrind) echo valgrind cmd:valgrind ;;
    fuzz)
      echo clang cmd:clang
      echo libclang-rt-14-dev dpkg
      ;;
    *)
      echo "deps.sh: unknown group '$1'" >&2
      exit 2
      ;;
  esac
}

there() { # PACKAGE PROBE
  case $2 in
    pc:*) pkg-config --exists "${2#pc:}" 2>/dev/null && return 0 ;;
    cmd:*) command -v "${2#cmd:}" >/dev/null 2>&1 && return 0 ;;
    lua:*) lua5.4 -e "require '${2#lua:}'" >/dev/null 2>&1 && return 0 ;;
    file:*) [ -e "${2#file:}" ] && return 0 ;;
  esac
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

wanted=$(for group in "$@"; do packages "$group"; done | sort -u)
missing=$(echo "$wanted" | while read -r package probe; do
  there "$package" "$probe" || printf '%s ' "$package"
done)
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "pipeline: missing here: $missing" >&2
  echo "(these are the names of the Debian packages; install what brings them on this system)" >&2
  exit 1
fi
if [ "$(id -u)" = 0 ]; then
  as_root=
elif command -v sudo >/dev/null 2>&1; then
  as_root=sudo
else
  echo "pipeline: missing packages; please run as root:" >&2
  echo "  apt-get update && apt-get install --no-install-recommends $missing" >&2
  exit 1
fi

echo "installing: $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt_get() {
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1
}
# Word splitting of $missing is wanted: one argument per package.
if ! { apt_get update && apt_get install --no-install-recommends $missing; }; then
  cat "$log" >&2
  echo "pipeline: could not install: $missing" >&2
  exit 1
fi
