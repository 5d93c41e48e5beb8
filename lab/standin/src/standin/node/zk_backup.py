"""`dcos-zk backup|restore <file>`: refuses while ZooKeeper runs, like the real tool."""

import os
import shutil
import subprocess
import sys
import tarfile

from . import paths, store


def main(arguments):
    if len(arguments) < 2 or arguments[0] not in ("backup", "restore"):
        print("usage: dcos-zk {backup,restore} <file.tar.gz>", file=sys.stderr)
        return 2
    state = subprocess.run(["systemctl", "is-active", "--quiet", "dcos-exhibitor"], check=False)
    if state.returncode == 0:
        print("ZooKeeper is running: stop dcos-exhibitor first", file=sys.stderr)
        return 1
    action, target = arguments[0], arguments[1]
    if action == "backup":
        if os.path.exists(target):
            print(f"{target} already exists", file=sys.stderr)
            return 1
        print(store.archive(target))
        return 0
    if not tarfile.is_tarfile(target):
        print(f"{target} is not a backup", file=sys.stderr)
        return 1
    home = os.path.join(paths.EXHIBITOR, "zookeeper")
    own_id = paths.read(os.path.join(store.SNAPSHOT, "myid"))
    shutil.rmtree(home, ignore_errors=True)
    shutil.unpack_archive(target, home, "gztar")
    if own_id is not None:
        paths.write(os.path.join(store.SNAPSHOT, "myid"), own_id + "\n")
    return 0
