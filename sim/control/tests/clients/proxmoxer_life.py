"""What a published Proxmox VE client makes of the simulator. It only reports; proxmoxer.rs judges."""

import json
import pathlib
import sys
import tempfile

from proxmoxer import AuthenticationError, ProxmoxAPI, ResourceException
from proxmoxer.tools import Tasks

given = json.loads(sys.argv[1])
where = {"host": "127.0.0.1", "port": given["port"], "verify_ssl": given["authority"]}
found = {}


def refusal(call):
    try:
        call()
    except ResourceException as error:
        return {"status": error.status_code, "reason": error.content, "errors": error.errors}
    return None


def ended(upid, caller=None):
    return Tasks.blocking_status(caller or proxmox, upid, polling_interval=0.02)["exitstatus"]


proxmox = ProxmoxAPI(**where, user="ci@pve", token_name="t1", token_value=given["secret"])
found["version"] = proxmox.version.get()["release"]
found["nodes"] = [node["node"] for node in proxmox.nodes.get()]
node = proxmox.nodes("pve1")
found["created"] = ended(node.qemu.post(vmid=9000, name="golden", memory=512, scsi0="disks:4", pool="ci"))
found["converted"] = ended(node.qemu(9000).template.post())
found["cloned"] = ended(node.qemu(9000).clone.post(newid=9101, name="runner-1", pool="ci", description="a b\n100%"))
config = node.qemu(9101).config.get()
found["description"] = config["description"]
node.qemu(9101).config.put(memory=1024, digest=config["digest"])
found["stale"] = refusal(lambda: node.qemu(9101).config.put(memory=2048, digest=config["digest"]))
found["memory"] = node.qemu(9101).config.get()["memory"]
found["started"] = ended(node.qemu(9101).status.start.post())
found["status"] = node.qemu(9101).status.current.get()["status"]
found["running"] = refusal(lambda: node.qemu(9101).delete())
found["stopped"] = ended(node.qemu(9101).status.stop.post())
found["deleted"] = ended(node.qemu(9101).delete(purge=1))
found["resources"] = [guest["vmid"] for guest in proxmox.cluster.resources.get(type="vm")]
found["invented"] = refusal(lambda: node.qemu(9000).config.put(flavour="mint"))
found["wrong"] = refusal(lambda: node.qemu.post(vmid=9102, memory="much"))
found["log"] = len(Tasks.decode_log(node.tasks(node.tasks.get(limit=1)[0]["upid"]).log.get())) > 0

admin = ProxmoxAPI(**where, user="root@pam", token_name="admin", token_value=given["admin"])
with tempfile.TemporaryDirectory() as directory:
    path = pathlib.Path(directory, "seed.iso")
    path.write_bytes(b"\7" * 4096)
    with path.open("rb") as image:
        upload = admin.nodes("pve1").storage("local").upload.post(content="iso", filename=image)
    found["uploaded"] = ended(upload, admin)
found["content"] = [entry["size"] for entry in admin.nodes("pve1").storage("local").content.get(content="iso")]

by_ticket = ProxmoxAPI(**where, user="ci@pve", password="secret-1")
found["ticket"] = ended(by_ticket.nodes("pve1").qemu(9000).clone.post(newid=9103, pool="ci"), by_ticket)
try:
    ProxmoxAPI(**where, user="ci@pve", password="wrong").version.get()
except AuthenticationError as error:
    found["password"] = str(error)

print(json.dumps(found))
