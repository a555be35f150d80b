# syntax=docker/dockerfile:1
# A GPU machine for post-training: Cosmos-Predict2 with NVIDIA's guardrail, accelerate, Ray. No ROS 2, no simulator.
#   docker build -f docker/training.Dockerfile -t world2act/training .
# nvidia/cuda:13.0.2-base-ubuntu24.04, amd64 and arm64; CUDA 13.0 as in torch's wheels, which bring their own libraries.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04@sha256:2ab6381d970b211fb93853796dc6707eb8a72575a375c422b17cf4d8b2641701

ARG USER_ID=1000
ARG GROUP_ID=1000
COPY docker/make-user /usr/local/sbin/make-user
RUN make-user "$USER_ID" "$GROUP_ID"

# The interpreter that scripts/setup asks for the rest; Ubuntu keeps only the newest build of a version.
# hadolint ignore=DL3008,DL3009
RUN --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && apt-get install -y --no-install-recommends python3

WORKDIR /opt/world2act
ARG EXTRAS=cosmos,language,policies,gpu,study
ENV WORLD2ACT_EXTRAS=$EXTRAS WORLD2ACT_PYTHON=/usr/bin/python3
COPY scripts/ scripts/
COPY requirements/ requirements/
COPY pyproject.toml README.md LICENSE ./
COPY world2act_core/__init__.py world2act_core/
RUN --mount=type=cache,target=/var/cache/pip,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    PIP_CACHE_DIR=/var/cache/pip scripts/setup --no-workspace
# NVIDIA's licence of the weights ends if the guardrail is bypassed. Not an extra: it brings torchvision, which does not
# import beside a CPU build of torch.
ARG GUARDRAIL=cosmos-guardrail==0.3.2
RUN --mount=type=cache,target=/var/cache/pip,sharing=locked \
    PIP_CACHE_DIR=/var/cache/pip scripts/run pip install -c requirements/lock.txt "$GUARDRAIL"

COPY . .
RUN scripts/setup

USER $USER_ID
# A container loses its GPU when the host reloads its drivers or cgroups, and a training only hangs.
HEALTHCHECK --interval=60s --timeout=20s --start-period=20s --retries=2 CMD ["nvidia-smi", "-L"]
ENTRYPOINT ["/opt/world2act/scripts/run"]
CMD ["world2act", "--help"]
