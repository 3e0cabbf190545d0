"""Plans and renders DeepSeek V4 deployments for mixed accelerator fleets."""

__version__ = "0.1.0"
