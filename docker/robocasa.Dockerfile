# syntax=docker/dockerfile:1
# RoboCasa in the environment that it needs for itself (robosuite 1.5, MuJoCo 3.3), with our core beside it. Its kitchen
# assets (10 GB) are mounted at /assets, writable: object files are rewritten there.
#   docker build -f docker/robocasa.Dockerfile -t world2act/robocasa .
# python:3.11.16-slim-bookworm, many platforms.
FROM python:3.11.16-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84

ARG USER_ID=1000
ARG GROUP_ID=1000
COPY docker/make-user /usr/local/sbin/make-user
RUN make-user "$USER_ID" "$GROUP_ID" && install -d -o "$USER_ID" -g "$GROUP_ID" /assets

WORKDIR /opt/world2act
COPY scripts/ scripts/
COPY requirements/ requirements/
COPY pyproject.toml ./
RUN --mount=type=cache,target=/var/cache/pip,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    PIP_CACHE_DIR=/var/cache/pip scripts/setup --robocasa

COPY . .

ENV PATH=/opt/world2act/.venv-robocasa/bin:$PATH \
    PYTHONPATH=/opt/world2act \
    ROBOCASA_ASSETS_PATH=/assets \
    MUJOCO_GL=osmesa \
    NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility
USER $USER_ID
HEALTHCHECK --interval=300s --timeout=60s --start-period=30s --retries=2 CMD ["python", "-c", "import robocasa"]
CMD ["python", "-c", "import robocasa, robosuite; print('RoboCasa', robocasa.__version__, 'robosuite', robosuite.__version__)"]
