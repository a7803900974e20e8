# shellcheck shell=bash
# One server process in one directory: start it detached, know whether it
# still runs, end it. Sourced by `stack`.
#
# DIR/pid holds the process id, its start time (field 22 of /proc/PID/stat, so
# that a number used again by another process is never taken for ours) and the
# port that it was given.

# start_time PID: prints when PID started, in clock ticks since boot.
start_time() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The command's name, in parentheses, may contain blanks; count behind it.
  # shellcheck disable=SC2086 # the fields are meant to be split
  set -- ${stat##*) }
  # A zombie has ended already and only waits for its parent's attention.
  [[ $1 != Z ]] || return 1
  echo "${20}"
}

# running_pid DIR: prints the id of DIR's live process, or fails.
running_pid() {
  local pid started
  [[ -e $1/pid ]] && read -r pid started _ <"$1/pid" || return 1
  [[ $(start_time "$pid") == "$started" ]] || return 1
  echo "$pid"
}

# already_running DIR PORT CHECK…: succeeds where DIR's process runs on PORT
# and passes CHECK, fails where none runs, and dies in any other case.
already_running() {
  local dir=$1 port=$2 other
  running_pid "$dir" >/dev/null || return 1
  read -r _ _ other <"$dir/pid"
  ((port == other)) || die "$dir: already runs on port $other, stop it to use port $port"
  await "$dir" 60 "${@:3}" || die "$dir: runs but does not answer on port $port"
}

# launch DIR PORT COMMAND…: runs COMMAND detached, its output in DIR/log. The
# session of its own keeps a terminal's Ctrl-C away from it; descriptors 8
# and 9 are our locks, which must not live as long as the server.
launch() {
  local dir=$1 port=$2
  shift 2
  setsid "$@" </dev/null >>"$dir/log" 2>&1 8>&- 9>&- &
  local pid=$!
  echo "$pid $(start_time "$pid") $port" >"$dir/pid"
}

# await DIR SECONDS CHECK…: returns once CHECK succeeds; fails, with the end
# of the log shown, when the process ends or SECONDS pass first.
await() {
  local dir=$1 limit=$2 problem=''
  shift 2
  local deadline=$((SECONDS + limit))
  until "$@"; do
    running_pid "$dir" >/dev/null || problem='the process ended'
    ((SECONDS < deadline)) || problem="no answer within $limit s"
    if [[ $problem ]]; then
      tail -n 30 "$dir/log" >&2
      say "$dir: $problem; the end of $dir/log is above"
      return 1
    fi
    sleep 0.1
  done
}

# await_start DIR CHECK…: await for a process just launched, which is not left
# behind when it does not come up.
await_start() {
  await "$1" 60 "${@:2}" && return
  signal_tree "$1" KILL
  exit 1
}

# family PID: prints PID and its descendants.
family() {
  local child children=()
  echo "$1"
  read -ra children 2>/dev/null <"/proc/$1/task/$1/children" || true
  for child in "${children[@]}"; do
    family "$child"
  done
}

# signal_tree DIR SIGNAL: sends SIGNAL to DIR's process and its descendants
# and returns when all of them are gone. For KILL: PostgreSQL's backends would
# survive their postmaster for a moment, a machine's death spares none.
signal_tree() {
  local pid pids
  if pid=$(running_pid "$1"); then
    mapfile -t pids < <(family "$pid")
    kill "-$2" "${pids[@]}" 2>/dev/null || true
    for pid in "${pids[@]}"; do
      while start_time "$pid" >/dev/null; do sleep 0.05; done
    done
  fi
  rm -f "$1/pid"
}

# stop_process DIR SIGNAL: asks DIR's process to end, insists after 30 s.
stop_process() {
  local pid
  if pid=$(running_pid "$1"); then
    kill "-$2" "$pid" 2>/dev/null || true
    local deadline=$((SECONDS + 30))
    while running_pid "$1" >/dev/null; do
      if ((SECONDS >= deadline)); then
        say "$1: still running 30 s after SIG$2, killing it"
        signal_tree "$1" KILL
      fi
      sleep 0.05
    done
  fi
  rm -f "$1/pid"
}

# port_taken PORT: succeeds where something listens on 127.0.0.1:PORT.
port_taken() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
