# shellcheck shell=bash disable=SC2154 # stack sets cache
# Prerequisites from apt, and the cache of what is fetched or built once.
# Sourced by `stack`.

is_root() { ((EUID == 0)); }

# need_command COMMAND PACKAGE…: installs the first PACKAGE that apt knows
# where COMMAND is missing.
need_command() {
  local name=$1 package
  shift
  ! command -v "$name" >/dev/null || return 0
  ! is_root || apt_update
  for package; do
    ! apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [^(]' || break
  done
  install_packages "$package"
  command -v "$name" >/dev/null || die "'$name' is still missing after installing $package"
}

# install_packages PACKAGE…: with apt where we may, else says what to run.
install_packages() {
  command -v apt-get >/dev/null || die "missing: $*; install it, or run a Docker engine"
  is_root || die "missing: $*; run: sudo apt-get install --no-install-recommends $*"
  apt_update
  watched "installing $*" apt_get install -y --no-install-recommends "$@"
}

# apt_update: once per run, since a fresh machine has no package lists.
apt_update() {
  [[ -z ${apt_updated:-} ]] && command -v apt-get >/dev/null || return 0
  watched 'updating the package lists' apt_get update
  apt_updated=yes
}

# apt_get ARGUMENT…: apt-get that waits for other clones (by our lock: apt
# itself never waits for the package lists) and other users of dpkg.
apt_get() {
  mkdir -p "$cache"
  DEBIAN_FRONTEND=noninteractive flock "$cache/lock-apt" \
    apt-get -o DPkg::Lock::Timeout=300 "$@"
}

# cached NAME BUILD: makes $cache/NAME by running BUILD with a temporary
# directory to fill. Nothing half-made is ever seen under NAME, and of two
# that want it at once one builds and the other waits.
cached() {
  local name=$1 build=$2
  mkdir -p "$cache"
  (
    flock --nonblock 8 || { say "waiting for another run that makes $name"; flock 8; }
    [[ ! -d $cache/$name ]] || exit 0
    rm -rf --one-file-system "$cache/.$name".*
    temporary=$(mktemp -d "$cache/.$name.XXXXXX")
    chmod 755 "$temporary"
    "$build" "$temporary"
    mv "$temporary" "$cache/$name"
  ) 8>"$cache/lock-$name"
}

# watched WHAT COMMAND…: runs COMMAND, says every 10 s that it still does,
# and shows the end of its output only when it fails.
watched() {
  local what=$1 output status=0
  shift
  output=$(mktemp)
  say "$what"
  "$@" >"$output" 2>&1 </dev/null &
  local pid=$! started=$SECONDS next=10
  while start_time "$pid" >/dev/null; do
    sleep 0.2
    if ((SECONDS - started >= next)); then
      say "$what: $next s so far"
      next=$((next + 10))
    fi
  done
  wait "$pid" || status=$?
  ((status == 0)) || tail -n 40 "$output" >&2
  rm -f "$output"
  ((status == 0)) || die "$what: '$1' failed with exit $status, the end of its output is above"
  say "$what: done in $((SECONDS - started)) s"
}
