"""Serve a policy in the GR00T, openpi or Cosmos Policy protocol, so that existing robots and evaluations can use it.

Whatever speaks one of these protocols gets chunks of any policy that opens by an address: a run's, a base, a recording.
Listens on this machine only, unless --host says otherwise; then a token is asked for, or --open says in so many words
that there is none. Ends with Ctrl-C, or when a GR00T client asks for it.
"""

from __future__ import annotations

import argparse
import ipaddress

EXAMPLES = """\
  world2act serve --policy run:runs/demo --protocol gr00t
  world2act serve --policy compact:runs/demo --protocol openpi --port 8000
  world2act serve --policy run:runs/demo --protocol gr00t --host 0.0.0.0 --token-env WORLD2ACT_TOKEN"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--policy", required=True, metavar="ADDRESS", help="e.g. run:runs/demo or replay:BAG")
    parser.add_argument("--protocol", required=True, choices=("gr00t", "openpi", "cosmos"), help="what clients speak")
    parser.add_argument("--embodiment", default="libero_panda", help="contract, by name or file (default libero_panda)")
    parser.add_argument("--mapping", default="", metavar="FILE", help="the protocol's keys (default: shipped)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="default the protocol's own: 5555, 8000 or 8777; 0 takes a free one")
    parser.add_argument("--token-env", default="", metavar="NAME", help="environment variable with a token to ask for")
    parser.add_argument("--open", action="store_true", help="listen beyond this machine without a token")


def run(args: argparse.Namespace) -> int:
    import logging

    from world2act_core.embodiment import load_embodiment
    from world2act_core.policies.address import open_policy
    from world2act_core.policies.identity import policy_digest
    from world2act_core.policies.mapping import load_mapping
    from world2act_core.policies.serve import new_server, serve_until_stopped
    from world2act_core.policies.server_address import read_token
    from world2act_core.policies.serving import ServedPolicy

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    _refuse_no_port(args)
    _refuse_open_door(args)
    token = read_token(args.token_env) if args.token_env else ""
    embodiment = load_embodiment(args.embodiment)
    mapping = load_mapping(args.protocol, embodiment, args.mapping, option="--mapping FILE")
    policy = open_policy(args.policy, embodiment)
    try:
        identity = str(getattr(policy, "identity", "")) or policy_digest(args.policy)
        served = ServedPolicy(policy, mapping, identity)
        server = new_server(args.protocol, served, args.host, args.port, token)
        print(f"serving {args.policy} for {embodiment.name}: {', '.join((*served.images, *served.state))} in, "
              f"chunks of {served.horizon} steps out", flush=True)  # fmt: skip
        print(f"listening on {server.address}, {'with' if token else 'without'} a token", flush=True)
        serve_until_stopped(server)
    finally:
        policy.close()
    return 0


def _refuse_no_port(args: argparse.Namespace) -> None:
    from world2act_core.errors import World2ActError

    if args.port is not None and not 0 <= args.port < 65536:
        raise World2ActError(f"--port {args.port} is no port: name one from 1 to 65535, or 0 for a free one")


def _refuse_open_door(args: argparse.Namespace) -> None:
    from world2act_core.errors import World2ActError

    try:
        local = ipaddress.ip_address(args.host).is_loopback
    except ValueError:
        local = args.host == "localhost"
    if not local and not args.token_env and not args.open:
        raise World2ActError(
            f"--host {args.host} can be reached from other machines: ask for a token, --token-env NAME, or say --open"
        )
