"""Node ``camera`` as a process: its images, its lifecycle, and a device that is missing, comes, goes and returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import Image

from tests.ros.support import a_video, running, single
from world2act.node import RECORD_SENSOR
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import fields


def test_a_camera_is_waited_for_publishes_goes_and_comes_back(
    probe: Any, domain: int, panda: Embodiment, tmp_path: Path
) -> None:
    video, camera = tmp_path / "camera.avi", panda.cameras["wrist"]
    probe.listen(Image, camera.topic, RECORD_SENSOR)
    images: list[Image] = probe.heard[camera.topic]
    change = probe.node.create_client(ChangeState, "camera/change_state")

    def transition(number: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=number))
        return bool(probe.wait_for_reply(change, request, 20).success)

    graph = single("camera", camera="wrist", source="usb", device=str(video), loop=True, autostart=False)
    with running(graph, domain) as (processes, output):
        probe.wait(change.service_is_ready, 30, "the node")
        assert transition(Transition.TRANSITION_CONFIGURE) and transition(Transition.TRANSITION_ACTIVATE)
        probe.wait(lambda: f"{video} is not there; is it plugged in?" in probe.diagnosis("camera"), 10, "the sentence")
        assert not images
        a_video(video, 0.5, 20)
        probe.wait(lambda: len(images) >= 15, 20, "images of two rounds")
        probe.wait(lambda: probe.diagnosis("camera") == "delivering", 5, "health")
        assert transition(Transition.TRANSITION_DEACTIVATE)
        probe.spin(0.2)
        seen = len(images)
        probe.spin(0.3)
        assert len(images) == seen, "an inactive camera publishes nothing"
        assert transition(Transition.TRANSITION_ACTIVATE)
        probe.wait(lambda: len(images) > seen, 10, "images again")
        video.unlink()
        probe.wait(lambda: "is not there" in probe.diagnosis("camera"), 10, "the sentence again")
        seen = len(images)
        a_video(video, 0.5, 20)
        probe.wait(lambda: len(images) > seen, 20, "images of the camera that is back")
        processes.interrupt()
        assert processes.wait() == 0, output.getvalue()
    stamps = [fields.stamp_ns(image.header.stamp) for image in images]
    assert stamps == sorted(set(stamps))
    assert {image.header.frame_id for image in images} == {camera.frame_id}
    assert {(image.encoding, image.width, image.height) for image in images} == {("rgb8", 128, 128)}
    pixels = fields.decode_image(images[0], camera)
    assert pixels[..., 2].mean() > 200 and pixels[..., 0].mean() < 50, "RGB, not BGR"
    assert "Traceback" not in output.getvalue()


def test_a_source_that_does_not_exist_ends_the_process_with_a_sentence(domain: int) -> None:
    with running(single("camera", source="zed"), domain) as (processes, output):
        assert processes.running[0].process.wait(30) == 1
        processes.running[0].reader.join()
    assert "source 'zed' is not one of usb, realsense, bag" in output.getvalue()
