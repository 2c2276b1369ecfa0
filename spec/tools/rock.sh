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
echo "rock: examples/approval.lua"
timeout 60 "$LUA" "$examples/approval.lua" --answer approve
for example in deferred_counter pull_workers taskqueue_url transaction; do
  echo "rock: examples/$example.lua"
  timeout 60 "$LUA" "$examples/$example.lua"
done
echo "rock: the command"
cat >sum.lua <<'END'
require("pipeline").define("sum.Add", { run = function(_, a, b) return a + b end })
END
sum=$(env -u LUA_PATH -u LUA_CPATH "$tree/bin/pipeline" --db jobs.db start sum.Add 1 2 --module sum.lua --wait -q)
[ "$sum" = 3 ] || { echo "rock: the command printed '$sum', not 3" >&2; exit 1; }
echo "rock: examples/fetch_many.lua"
"$LUA" "$tools/../fetch/target.lua" >port 2>/dev/null &
server=$!
trap 'kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
for _ in 1 2 3 4 5 6 7 8 9 10; do
  [ -s port ] || sleep 0.5
done
read -r port <port
for path in after 'slow?0.05' 'flaky?1'; do echo "http://127.0.0.1:$port/$path"; done >urls
timeout 60 "$LUA" "$examples/fetch_many.lua" --quiet --back-off 0.05 urls
echo "rock: ok"
