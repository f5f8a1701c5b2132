"""Commands that measure: each prints both sides and their ratio in one run."""
from common.environment import set_threads

set_threads()  # before any benchmark imports MXNet, as every command of the project does
