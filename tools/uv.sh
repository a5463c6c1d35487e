#!/bin/sh
# Run uv with the arguments given, installing it first where there is none that works.
#
#     tools/uv.sh run --frozen vlascope list
#
# Looked for in this order: $UV, the PATH, ~/.local/bin, a copy this script installed before, a
# Python that has the `uv` package. Otherwise pip installs it into $VLASCOPE_TOOLS (by default
# ~/.cache/vlascope/tools), which touches no Python's own packages and needs no root.
set -u

tools=${VLASCOPE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/vlascope/tools}

# Behind a proxy with its own certificate, trust what the system trusts.
bundle=/etc/ssl/certs/ca-certificates.crt
if [ -z "${SSL_CERT_FILE:-}" ] && [ -r "$bundle" ]; then
    export SSL_CERT_FILE="$bundle"
fi

# A version manager's shim may be on the PATH and still fail in this very folder: ask it here.
works() { [ -n "$1" ] && "$1" --version >/dev/null 2>&1; }

# Python is asked from /, where no .python-version of a project can mislead a shim.
elsewhere() { (cd / && "$@"); }

found() {
    for candidate in "${UV:-}" "$(command -v uv)" "$HOME/.local/bin/uv" "$tools/bin/uv"; do
        if works "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    for python in $pythons; do
        candidate=$(elsewhere "$python" -c 'import uv; print(uv.find_uv_bin())' 2>/dev/null)
        if works "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# A bare pip, else a virtual environment's. `--target` and venv both leave a Python that its
# distribution manages (PEP 668) as it is.
install() {
    echo "uv is not here: installing it into $tools" >&2
    for python in $pythons; do
        elsewhere "$python" -m pip install --quiet --root-user-action ignore --upgrade --target "$tools" uv >&2 && return
        elsewhere "$python" -m venv "$tools" >&2 &&
            elsewhere "$tools/bin/python" -m pip install --quiet uv >&2 && return
    done
    return 1
}

pythons=
for name in python3 /usr/bin/python3 /usr/local/bin/python3 python; do
    elsewhere "$name" -c '' 2>/dev/null && pythons="$pythons $name"
done

if ! uv=$(found); then
    if ! install || ! uv=$(found); then
        echo "uv could not be installed. With Debian or Ubuntu: apt-get install python3-pip," >&2
        echo "then try again; or install uv yourself: https://docs.astral.sh/uv" >&2
        exit 127
    fi
fi
exec "$uv" "$@"
