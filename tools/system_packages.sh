#!/bin/sh
# Install the system packages that pip cannot, and only those that are missing.
#
#   tools/system_packages.sh python|firmware|tests...
#
# python    a Python >= 3.11 that can make virtual environments; prints its command on stdout
# firmware  Arm GCC, newlib, QEMU, a host C compiler: what `make demo` needs
# tests     clang with its sanitizers and a RISC-V compiler and emulator on top: what `make test` needs
#
# Works through apt-get, as root or with sudo. Where that is not possible it says what is missing
# and stops, so that a failure is one clear message and not a compiler error ten minutes later.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }
say() { echo "setup: $*" >&2; }

links() { # links <compiler> <flags...>: does a trivial program link?
    dir=$(mktemp -d)
    echo 'int main(void) { return 0; }' >"$dir/main.c"
    status=0
    "$@" "$dir/main.c" -o "$dir/main" >/dev/null 2>&1 || status=1
    rm -rf "$dir"
    return $status
}

python_candidates="${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3"

find_python() { # the first Python that is new enough
    for candidate in $python_candidates; do
        have "$candidate" || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

makes_venvs() { "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; }

missing=""
need() { missing="$missing $1"; }

check() {
    missing=""
    for group in "$@"; do
        case $group in
        python)
            if python=$(find_python); then
                # Debian splits ensurepip off; its package is named after the exact version.
                makes_venvs "$python" ||
                    need "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
            else
                need python3
                need python3-venv
            fi
            ;;
        firmware)
            links cc || { need gcc; need libc6-dev; }
            have arm-none-eabi-gcc || need gcc-arm-none-eabi
            # newlib is a package of its own; without it the compiler answers with the bare name
            if have arm-none-eabi-gcc; then
                case $(arm-none-eabi-gcc -print-file-name=nano.specs) in
                /*) ;;
                *) need libnewlib-arm-none-eabi ;;
                esac
            else
                need libnewlib-arm-none-eabi
            fi
            have qemu-system-arm || need qemu-system-arm
            ;;
        tests)
            have git || need git
            links g++ || need g++ # the generated headers are checked as C++ too
            links clang || need clang
            # the sanitizers' runtime is only recommended by clang, not required
            links clang -fsanitize=address,undefined ||
                need "$(if have clang; then clang -dumpversion | sed 's/\..*//; s/^/libclang-rt-/; s/$/-dev/'; else echo "libclang-rt-dev"; fi)"
            # the portable kernels run on RISC-V too; picolibc is a package of its own
            have riscv64-unknown-elf-gcc || need gcc-riscv64-unknown-elf
            if have riscv64-unknown-elf-gcc; then
                case $(riscv64-unknown-elf-gcc -print-file-name=picolibc.specs) in
                /*) ;;
                *) need picolibc-riscv64-unknown-elf ;;
                esac
            else
                need picolibc-riscv64-unknown-elf
            fi
            have qemu-system-riscv32 || need qemu-system-misc
            ;;
        *)
            say "unknown group '$group'"
            exit 2
            ;;
        esac
    done
}

check "$@"
if [ -n "$missing" ]; then
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        as_root="sudo"
        # -n: in a script no one can type a password; on a terminal sudo may ask.
        [ -t 0 ] || as_root="sudo -n"
    fi
    if ! have apt-get || { [ -n "$as_root" ] && ! have sudo; }; then
        say "missing:$missing"
        say "install them with your system's package manager, then run make again"
        exit 3
    fi
    say "installing:$missing"
    log=$(mktemp)
    install() { # one apt run; its chatter is shown only where it failed
        # shellcheck disable=SC2086
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >"$log" 2>&1
    }
    # The package lists of a fresh machine are often empty or stale: update, then install.
    if ! { $as_root apt-get update -q >"$log" 2>&1 && install; } && ! install; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        say "apt-get could not install:$missing"
        say "install them by hand, then run make again"
        exit 3
    fi
    rm -f "$log"
    check "$@"
    if [ -n "$missing" ]; then
        say "still missing after apt-get:$missing"
        exit 3
    fi
fi

for group in "$@"; do
    [ "$group" != python ] || find_python
done
