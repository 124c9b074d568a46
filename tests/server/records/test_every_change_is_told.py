"""Each endpoint that changes something leaves an entry in the audit trail, or there is a reason why not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jackfield
from jackfield.app import Platform
from jackfield.capabilities import ensure_key_file
from jackfield.settings import Settings

CHANGING = ("post", "put", "patch", "delete")

TOLD = {
    "addChannel": "channel.add", "addKey": "publisher.add-key", "addWebhookEndpoint": "webhook-endpoint.add",
    "activatePlugin": "plugin.activate", "assignPlugin": "channel.assign", "changeChannel": "channel.change",
    "changeWebhookEndpoint": "webhook-endpoint.change", "configurePlugin": "plugin.configure",
    "confirmConnection": "connection.authorize", "connectChannel": "channel.connect", "createTenant": "tenant.create",
    "deactivatePlugin": "plugin.deactivate", "deleteChannel": "channel.remove",
    "deleteConnection": "connection.disconnect", "describeTenant": "tenant.describe",
    "disconnectChannel": "channel.disconnect", "dropNotificationWebhook": "notification.webhook-drop",
    "dropPlan": "plan.withdraw", "forgetKey": "keys.forget", "giveUpPluginUpdate": "plugin.update-given-up",
    "installPlugin": "plugin.install", "issueToken": "token.issue", "newChannelToken": "channel.token",
    "pausePluginSchedule": "schedule.pause", "publishRelease": "release.publish", "putConnection": "connection.change",
    "putPlan": "plan.set", "removePluginSecret": "plugin.configure", "removeWebhookEndpoint": "webhook-endpoint.remove",
    "renewTenantKey": "keys.renew", "replayPluginDelivery": "delivery.replay", "replayDeliveries": "delivery.replay",
    "replayWebhookEndpoint": "webhook-endpoint.replay", "replayWebhookEndpointDelivery": "webhook-endpoint.replay",
    "resetInstallationLimits": "limits.withdraw", "resetPluginLimits": "limits.withdraw",
    "resetTenantQuotas": "quotas.withdraw", "resumePluginSchedule": "schedule.resume",
    "revertDataChange": "data.revert", "revertDataChanges": "data.revert", "revokeKey": "publisher.revoke-key",
    "revokeToken": "token.revoke", "rollBackPlugin": "plugin.rollback", "rotateKeys": "keys.rotate",
    "rotatePluginWebhook": "webhook.rotate", "rotateWebhookEndpointSecret": "webhook-endpoint.rotate",
    "runPluginSchedule": "schedule.run", "setInstallationLimits": "limits.set",
    "setNotificationWebhook": "notification.webhook", "setPluginGrants": "plugin.grants",
    "setPluginLimits": "limits.set", "setPluginSecret": "plugin.configure", "setRetention": "retention.set",
    "setTenantRetention": "retention.set",
    "setTenantPlan": "tenant.plan", "setTenantQuotas": "quotas.set", "unassignPlugin": "channel.unassign",
    "uninstallPlugin": "plugin.uninstall", "unyankRelease": "release.unyank", "updatePlugin": "plugin.update",
    "uploadDevelopmentRelease": "release.develop", "yankRelease": "release.yank",
}  # fmt: skip
WORK = "it is work, of which each call has a record"
OWN = "a member's own view, and nobody else's business"
NOTHING = "it changes nothing"
EXEMPT = {
    "authorizeConnection": "it only begins; what follows is told by `connection.authorize`",
    "callChannelFunction": WORK, "callFunction": WORK, "emitEvent": WORK, "planPlugin": NOTHING,
    "readNotification": OWN, "readNotifications": OWN, "receiveUpdate": WORK, "receiveWebhook": WORK,
    "runFilter": WORK, "sayOnChannel": WORK, "setMyLocale": OWN, "setNotificationPreferences": OWN,
    "talkAsVoiceAgent": WORK, "testChannel": NOTHING, "testConnection": NOTHING, "testPluginConfig": NOTHING,
    "testWebhookEndpoint": "one attempt, which is in the endpoint's log", "unreadNotification": OWN,
    "unsubscribe": OWN,
}  # fmt: skip


def test_each_endpoint_that_changes_something_is_told_or_says_why_not(tmp_path: Path) -> None:
    ensure_key_file(tmp_path)
    paths: dict[str, Any] = Platform(Settings(data_dir=tmp_path)).asgi.openapi()["paths"]
    changing = {way["operationId"] for ways in paths.values() for method, way in ways.items() if method in CHANGING}
    assert not TOLD.keys() & EXEMPT.keys()
    unsaid = changing - TOLD.keys() - EXEMPT.keys()
    assert not unsaid, "give each an entry in the audit trail, and say which one; or say why it has none"
    assert not (TOLD.keys() | EXEMPT.keys()) - changing, "these are no more"


def test_what_is_told_is_told_somewhere() -> None:
    """The words of an action stand where an entry is made; some are put together there."""
    source = "\n".join(path.read_text() for path in Path(jackfield.__file__).parent.rglob("*.py"))
    words = set(re.findall(r"\"([a-z-]+\.[a-z-]+)\"", source))
    made = {f"{what}.{verb}" for what in ("plan", "quotas", "limits") for verb in ("set", "withdraw")}
    made |= {"release.yank", "release.unyank"}
    assert not set(TOLD.values()) - words - made
