#!/bin/sh
# rock.sh TREE - checks an installed rock: runs programs that can see nothing of pipeline but that tree.
set -eu

tree=$(cd "$1" && pwd)
export LUA_PATH="$tree/share/lua/5.4/?.lua;$tree/share/lua/5.4/?/init.lua;;"
export LUA_CPATH="$tree/lib/lua/5.4/?.so;;"
unset LUA_PATH_5_4 LUA_CPATH_5_4 LUA_INIT

examples=$(pwd)/examples
tools=$(pwd)/spec/tools
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp README.md "$work"
cd "$work" # away from the sources: the default path ends with the current directory

where=$("$LUA" -e '
  print(package.searchpath("pipeline", package.path), package.searchpath("pipeline.core", package.cpath))')
for path in $where; do
  case $path in
    "$tree"/*) ;;
    *) echo "rock: found $path, not the rock's own" >&2; exit 1 ;;
  esac
done

echo "rock: the example of the README"
timeout 60 "$LUA" "$tools/readme.lua" README.md
echo "rock: examples/delay_then_approve.lua"
timeout 60 "$LUA" "$examples/delay_then_approve.lua" --seconds 0.2 --approve
for example in deferred_counter pull_workers; do
  echo "rock: examples/$example.lua"
  timeout 60 "$LUA" "$examples/$example.lua"
done
echo "rock: ok"
