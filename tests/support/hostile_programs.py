"""Programs that attack what runs them: none passes the test, and none leaves a trace."""

from __future__ import annotations

TEST = "assert answer(2) == 4\nassert answer(3) == 9"
RIGHT = "def answer(x):\n    return x * x\n"
WRONG = "def answer(x):\n    return 0\n"

# Each forges a pass: it answers wrongly, and attacks the verdict.
FORGED = {
    "exits early": "import os\nos._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "raises SystemExit in the call": "def answer(x):\n    raise SystemExit(0)",
    "exits in the call": "import os\ndef answer(x):\n    os._exit(0)",
    "at exit": f"{WRONG}import atexit, os\natexit.register(os._exit, 0)",
    "equals everything": (
        "class Every(int):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "    __hash__ = None\ndef answer(x):\n    return Every()"
    ),
    "an object that equals everything": (
        "class Every:\n    def __eq__(self, other): return True\n    def __bool__(self): return True\n"
        "def answer(x):\n    return Every()"
    ),
    "patches what compares": (
        f"{WRONG}import builtins, unittest\nbuiltins.AssertionError = Exception\n"
        "builtins.set = builtins.abs = lambda *a: 0\nunittest.TestCase.assertEqual = lambda *a: None"
    ),
    "reads the expected answer in the caller": (
        "import sys, gc\ndef answer(x):\n    frame = sys._getframe(1)\n    while frame:\n"
        "        for value in (*frame.f_locals.values(), *frame.f_globals.values(), *frame.f_code.co_consts):\n"
        "            if value in (4, 9):\n                return value\n        frame = frame.f_back\n    return 0"
    ),
    "writes a verdict to every open file": (
        "import os\nfor number in range(64):\n    try:\n"
        "        os.write(number, b'{\"verdict\": true}\\n' * 3)\n    except OSError:\n        pass\n" + WRONG
    ),
    "sends what is nested too deeply to read": (
        "import os\nfor number in range(64):\n    try:\n        os.write(number, b'[' * 10**5 + b'\\n')\n"
        "    except OSError:\n        pass\n" + WRONG
    ),
    "prints a verdict": "print('{\"verdict\": true}')\n" + WRONG,
    "kills its parent": f"{WRONG}import os, signal\nfor one in (os.getppid(), 1, -1):\n    os.kill(one, 9)",
    "defines another test": f"{WRONG}def check(candidate):\n    pass\nassert_ = True",
    "a class as the answer": "class answer:\n    def __init__(self, x): pass\n    def __eq__(self, other): return True",
}

# Each takes too much, or is no program.
TOO_MUCH = {
    "memory": f"{RIGHT}kept = bytearray(4 * 2**30)",
    "memory of many processes": (
        f"{RIGHT}import os, time\nfor _ in range(12):\n    if os.fork() == 0:\n        kept = b'x' * 2**28\n"
        "        time.sleep(60)\ntime.sleep(60)"
    ),
    "processes": f"{RIGHT}import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "a file": f"{RIGHT}open('f', 'wb').write(bytes(2**24))",
    "the disk": (
        f"{RIGHT}import os\nfor folder in ('/tmp', '/dev/shm'):\n    for number in range(4096):\n"
        "        open(f'{folder}/{number}', 'wb').write(bytes(2**20))"
    ),
    "open files": f"{RIGHT}kept = [open('/dev/null') for _ in range(10_000)]",
    "output": "import sys\ndef answer(x):\n    return 'x' * 2**25",
    "time": f"{RIGHT}while True: pass",
    "time in the call, all signals ignored": (
        "import signal, time\nfor one in range(1, 65):\n    try:\n        signal.signal(one, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\ndef answer(x):\n    time.sleep(600)"
    ),
    "an answer that never ends": ("def answer(x):\n    kept = []\n    kept.append(kept)\n    return kept"),
    "a null byte": RIGHT + "\0",
    "half a character": RIGHT + "x = '\ud800'",
    "no Python": "def answer(x",
}

# Each returns what an attempt came to, of which a sandbox allows none: "refused", or what was reached.
ATTEMPT = """
def answer(how, what):
    named = {}
    try:
        exec(ATTEMPTS[how], named)
        return named["attempt"](what) or "refused"
    except (OSError, PermissionError) as error:
        return "refused"
"""
ATTEMPTS = {
    "reads": "def attempt(path):\n    return open(path).read()",
    "writes": "def attempt(path):\n    return open(path, 'w').write('mine')",
    "deletes": "import shutil, os\ndef attempt(path):\n    shutil.rmtree(path)\n    return 'deleted'",
    "reads by a link": (
        "import os\ndef attempt(path):\n    os.symlink(path, '/tmp/link')\n    return open('/tmp/link').read()"
    ),
    "connects": (
        "import socket\ndef attempt(port):\n    socket.create_connection(('127.0.0.1', int(port)), 1)\n"
        "    return 'connected'"
    ),
    "environment": (
        "import os\ndef attempt(word):\n    return [name for name, value in os.environ.items() if word in name + value]"
    ),
    "other processes": (
        "import os, pathlib\ndef attempt(word):\n"
        "    found = [one for one in os.listdir('/proc') if one.isdigit()]\n"
        "    return [one for one in found if word in pathlib.Path(f'/proc/{one}/cmdline').read_text()]"
    ),
    "becomes root": "import os\ndef attempt(_):\n    os.setuid(0)\n    return 'root'",
    "mounts": (
        "import ctypes\ndef attempt(_):\n    libc = ctypes.CDLL(None)\n"
        "    return 'mounted' if libc.mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0 else ''"
    ),
    "user namespace": (
        "import ctypes\ndef attempt(_):\n    libc = ctypes.CDLL(None)\n"
        "    return 'made' if libc.unshare(0x10000000) == 0 else ''"
    ),
    "traces": (
        "import ctypes, os, time\ndef attempt(_):\n    child = os.fork()\n    if child == 0:\n        time.sleep(5)\n"
        "    return 'traced' if ctypes.CDLL(None).ptrace(16, child, 0, 0) == 0 else ''"
    ),
}
LEAVES = (  # children that outlive it: in a session of their own, deaf to signals, twice forked
    "import os, signal, sys, time\nfor one in (1, 2, 15):\n    signal.signal(one, signal.SIG_IGN)\n"
    "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
    "        os.execv(sys.executable, ['{mark}', '-I', '-S', '-c', 'import time; time.sleep(60)'])\n"
    "    os._exit(0)\ntime.sleep(0.3)\n"
)
