"""Serves an MP4 of H.264 or HEVC and AAC over RTSP with gst-rtsp-server, at its own pace, each caller from its beginning.

    rtsp_server.py PORT FILE h264|h265 [USER PASSWORD]

With a user, it asks for digest authentication. Prints "ready" when it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

port, path, codec, *user = sys.argv[1:]
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f"( filesrc location={path} ! qtdemux name=d"
    f" d.video_0 ! queue ! {codec}parse ! rtp{codec}pay name=pay0 pt=96"
    " d.audio_0 ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
)
if user:
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user[0], user[1], token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for what in ("access", "construct"):
        permissions.add_permission_for_role("viewer", f"media.factory.{what}", True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory("/signal", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
