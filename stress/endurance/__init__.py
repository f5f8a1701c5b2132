"""Commands that try for minutes what a training run must survive: `torture` (kills, full disks), `soak` (memory)."""
from common.environment import set_threads

set_threads()
