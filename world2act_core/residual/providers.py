"""Which hardware runs a graph: ONNX Runtime's execution providers, chosen by what is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from world2act_core.errors import MissingExtraError, World2ActError

PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""By the names used here, the fastest first. A graph that one of them cannot run whole is finished by those below."""


def import_onnxruntime() -> Any:
    """ONNX Runtime.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(
            "ONNX Runtime is not installed: install one of its extras, pip install 'world2act[cpu]' or 'world2act[gpu]'"
        ) from None
    return onnxruntime


def choose(available: Sequence[str], wanted: str = "") -> list[str]:
    """Providers for a session, by ONNX Runtime's names.

    Args:
        available: as ``onnxruntime.get_available_providers()`` tells.
        wanted: ``tensorrt``, ``cuda`` or ``cpu``; "" takes the fastest there is, and all below it.

    Raises:
        World2ActError: no such provider, or it is not there.
    """
    names = list(PROVIDERS)
    if wanted and wanted not in names:
        raise World2ActError(f"there is no provider {wanted!r}: expected one of {', '.join(names)}")
    if wanted and PROVIDERS[wanted] not in available:
        here = [name for name in names if PROVIDERS[name] in available]
        raise World2ActError(
            f"this ONNX Runtime has no provider {wanted} (it has {', '.join(here)}): install the extra gpu beside CUDA "
            f"or leave the choice to what is there"
        )
    return [PROVIDERS[name] for name in names[names.index(wanted or names[0]) :] if PROVIDERS[name] in available]


def open_session(graph: Path, wanted: str = "") -> Any:
    """An ``InferenceSession`` of a graph, on one thread: these graphs are too small to be shared out.

    Raises:
        World2ActError: see ``choose``; the provider asked for does not start; or the file is no graph.
    """
    onnxruntime = import_onnxruntime()
    providers = choose(onnxruntime.get_available_providers(), wanted)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=providers)
    except Exception as problem:
        raise World2ActError(f"{graph} cannot be run by ONNX Runtime: {str(problem).splitlines()[0]}") from problem
    if wanted and session.get_providers()[0] != PROVIDERS[wanted]:
        raise World2ActError(  # listed as available, but its libraries are not
            f"ONNX Runtime's provider {wanted} does not start here (it fell back to {session.get_providers()[0]}): "
            f"look for CUDA's libraries in its log"
        )
    return session
