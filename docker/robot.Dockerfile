# syntax=docker/dockerfile:1
# The robot's machine: ROS 2 Jazzy from apt, the nodes, cameras, RealSense, ONNX Runtime.
#   docker build -f docker/robot.Dockerfile -t world2act/robot .
# ros:jazzy-ros-base-noble of September 2026, amd64 and arm64; CPython 3.12.
FROM ros:jazzy-ros-base-noble@sha256:c3706ef0a0aa45413c07803cf433602f543b22e45b4855f6fca955c2d8ecc4e8

ARG USER_ID=1000
ARG GROUP_ID=1000
COPY docker/make-user /usr/local/sbin/make-user
RUN make-user "$USER_ID" "$GROUP_ID"

# The arm's driver and what runs beside it, where they are to live in this image: for a UR5e for example
# "ros-jazzy-ur-robot-driver". franka_ros2 has no packages; it runs on the host or in an image of its own.
ARG DRIVER_PACKAGES=""
# hadolint ignore=DL3008,DL3009,SC2086
RUN --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    if [ -n "$DRIVER_PACKAGES" ]; then \
        apt-get update && apt-get install -y --no-install-recommends $DRIVER_PACKAGES; \
    fi

WORKDIR /opt/world2act
# With a GPU: gpu in the place of cpu. Without one, PyTorch's index of CPU wheels saves several gigabytes.
ARG EXTRAS=policies,cpu,realsense,calibration
ARG PIP_EXTRA_INDEX_URL=""
ENV WORLD2ACT_EXTRAS=$EXTRAS
# Packages first, from what they depend on alone: a change of the code does not install them again.
COPY scripts/ scripts/
COPY requirements/ requirements/
COPY pyproject.toml README.md LICENSE ./
COPY world2act_core/__init__.py world2act_core/
RUN --mount=type=cache,target=/var/cache/pip,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    PIP_CACHE_DIR=/var/cache/pip scripts/setup --no-workspace

COPY . .
RUN scripts/setup

USER $USER_ID
# A graph of ours answers in this ROS domain. Without one (a shell, a single command) the container is "unhealthy".
HEALTHCHECK --interval=60s --timeout=40s --start-period=120s --retries=2 \
    CMD ["/opt/world2act/scripts/run", "world2act", "status", "--once", "--within", "10"]
ENTRYPOINT ["/opt/world2act/scripts/run"]
CMD ["world2act", "doctor"]
