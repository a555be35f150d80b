# Source this (or use scripts/run COMMAND...) for a shell with .venv, ROS 2, ros_ws and the Fast DDS profile.
# Settings that are already there win, so a robot's own choices stay.
# shellcheck shell=bash

_w2a_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
_w2a_venv=$_w2a_root/.venv

_w2a_source() { # colcon's and ROS's set-up files use unset variables
    local flags=$-
    set +u
    # shellcheck disable=SC1090
    source "$1"
    case $flags in *u*) set -u ;; esac
}

if [ -f "$_w2a_venv/ros_prefix" ]; then
    _w2a_source "$(cat "$_w2a_venv/ros_prefix")/setup.bash"
else
    # The wheels make the environment's own root a ROS prefix.
    export AMENT_PREFIX_PATH=$_w2a_venv CMAKE_PREFIX_PATH=$_w2a_venv
fi
export VIRTUAL_ENV=$_w2a_venv
case :$PATH: in *":$_w2a_venv/bin:"*) ;; *) export PATH=$_w2a_venv/bin:$PATH ;; esac
if [ -f "$_w2a_root/ros_ws/install/local_setup.bash" ]; then
    _w2a_source "$_w2a_root/ros_ws/install/local_setup.bash"
fi

# Images need shared memory: over the default transport most of them are lost (docs/architecture.md).
if [ -f "$_w2a_root/launch/fastdds_shm.xml" ]; then
    export RMW_IMPLEMENTATION=${RMW_IMPLEMENTATION:-rmw_fastrtps_cpp}
    export FASTDDS_DEFAULT_PROFILES_FILE=${FASTDDS_DEFAULT_PROFILES_FILE:-$_w2a_root/launch/fastdds_shm.xml}
    export FASTRTPS_DEFAULT_PROFILES_FILE=${FASTRTPS_DEFAULT_PROFILES_FILE:-$FASTDDS_DEFAULT_PROFILES_FILE}
fi
# Software rendering where there is no GPU; where there is one, world2act_core.simulators chooses.
[ -e /dev/nvidia0 ] || [ -e /dev/dri/renderD128 ] || export MUJOCO_GL=${MUJOCO_GL:-osmesa}

unset -f _w2a_source
unset _w2a_root _w2a_venv
