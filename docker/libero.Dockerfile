# syntax=docker/dockerfile:1
# LIBERO with the whole graph: simulated arm, emulator, gate, cells of a study (Ray). As CI sets it up: Debian 12,
# CPython 3.11, ROS 2 from wheels, every version from requirements/lock.txt. All assets are in the packages.
#   docker build -f docker/libero.Dockerfile -t world2act/libero .
# python:3.11.16-slim-bookworm, many platforms.
FROM python:3.11.16-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84

ARG USER_ID=1000
ARG GROUP_ID=1000
COPY docker/make-user /usr/local/sbin/make-user
RUN make-user "$USER_ID" "$GROUP_ID"

WORKDIR /opt/world2act
# With a GPU: gpu in the place of cpu.
ARG EXTRAS=ros,libero,policies,cpu,study
ARG PIP_EXTRA_INDEX_URL=""
# graphics: rendering by EGL where the container is given an NVIDIA GPU.
ENV WORLD2ACT_EXTRAS=$EXTRAS NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility
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
HEALTHCHECK --interval=60s --timeout=40s --start-period=120s --retries=2 \
    CMD ["/opt/world2act/scripts/run", "world2act", "status", "--once", "--within", "10"]
ENTRYPOINT ["/opt/world2act/scripts/run"]
CMD ["world2act", "doctor"]
