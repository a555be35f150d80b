"""``python -m world2act_core.cli`` is the ``world2act`` command."""

import sys

from world2act_core.cli import main

sys.exit(main())
