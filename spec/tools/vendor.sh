#!/bin/sh
# vendor.sh [NAME VERSION]... - brings the browser modules that the pages are built on from npm into
# lua/pipeline/pages/assets/vendor/, with their licences. Without arguments: the versions named here. What is changed in
# them: the import of preact names the file beside, and the comment with the address of a source map is left out.
set -eu

preact=10.29.8
htm=3.1.1
while [ $# -ge 2 ]; do
  case $1 in
    preact) preact=$2 ;;
    htm) htm=$2 ;;
    *) echo "vendor.sh: unknown module '$1'" >&2; exit 2 ;;
  esac
  shift 2
done

to=$(cd "$(dirname "$0")/../../lua/pipeline/pages/assets/vendor" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

get() { # NAME VERSION
  npm pack --silent "$1@$2" >/dev/null
  tar -xzf "$1-$2.tgz"
  mv package "$1"
}

put() { # SOURCE NAME HEAD
  { echo "/*! $3 */"; sed -e 's|from"preact"|from"./preact.js"|g' -e '/^\/\/# sourceMappingURL=/d' "$1"; } >"$to/$2"
}

get preact "$preact"
get htm "$htm"
put preact/dist/preact.module.js preact.js "preact $preact, MIT licence, see LICENSES.txt"
put preact/hooks/dist/hooks.module.js hooks.js "preact/hooks $preact, MIT licence, see LICENSES.txt"
put htm/dist/htm.module.js htm.js "htm $htm, Apache licence 2.0, see LICENSES.txt"
{
  echo "preact.js, hooks.js: preact $preact (https://preactjs.com)"
  echo
  cat preact/LICENSE
  echo
  echo "htm.js: htm $htm (https://github.com/developit/htm)"
  echo
  cat htm/LICENSE
} >"$to/LICENSES.txt"
