"""Chips (what an engine sees of one device) and servers (what stands in a rack)."""

from __future__ import annotations

from typing import Literal

from stowplan.profiles.fact import Fact, Items, Model, Name, Sourced, Text

NumberFormat = Literal["bf16", "fp16", "fp8", "hif8", "mxfp8", "mxfp4", "nvfp4", "int8", "int4"]
Rate = Literal["bf16", "fp8", "int8", "fp4"]


class Formats(Sourced):
    """Number formats of matrix operands."""

    native: Items[NumberFormat] = ()
    """The matrix unit computes on them."""
    fallback: dict[NumberFormat, Text] = {}
    """Stored in this format, computed in another: how."""
    missing: Items[NumberFormat] = ()
    """Known not to run; a format in none of the three lists is unknown."""

    def _states(self) -> bool:
        return bool(self.native or self.fallback or self.missing)


class ChipSpec(Model):
    """One device as the driver, the engine and Kubernetes count it."""

    title: Text
    vendor: Name
    families: Items[Name]
    """General to special; rules and images name them."""
    status: Text
    device_unit: Text
    """What one device is, in the words of error messages."""
    memory_mib: Fact[int]
    """MiB that the driver reports for one device, never the marketed figure."""
    memory_bandwidth: Fact[float]
    """GB/s (10^9 bytes) of one device."""
    dense_rates: dict[Rate, Fact[float]]
    """TFLOPS or TOPS of one device without structured sparsity, matrix units only."""
    formats: Formats
    link: Fact[float]
    """Scale-up link of one device, GB/s in one direction."""
    power: Fact[float] | None = None
    """Watt of one device."""
    unified_memory: bool = False
    """The device has no memory of its own: what an engine would keep in the host's memory takes the same bytes."""
    reports: Items[Fact[str]] = ()
    """Who has run the models of the catalogue on it, where no plan can follow: no command, or no engine here."""


class Unit(Model):
    """What people call a card, and how many devices it is."""

    device: Text
    card: Text
    devices_per_card: int


class HostLabel(Sourced):
    """What a node label says on such hosts, whoever writes it."""

    values: Items[Text]


class ServerSpec(Model):
    """One host: how many devices, how they are joined, what the host brings."""

    title: Text
    vendor: Name
    chip: Name
    unit: Unit
    devices: Fact[int]
    """Devices of one host, as Kubernetes counts them."""
    mesh: Fact[int]
    """Devices of one host that share a direct scale-up link (1: none)."""
    scale_up_domain: Fact[int]
    """Devices that share the scale-up link, over host borders."""
    host_arch: Fact[Items[Literal["amd64", "arm64"]]]
    """Kubernetes architectures of the host."""
    host_memory: Fact[float]
    """GiB of the host's memory; the site's value goes before it."""
    nic: Fact[float]
    """Scale-out network of one device, Gbit/s."""
    host_labels: dict[Text, HostLabel] = {}
    """Node labels that tell such hosts from others, beside those by which device layers select them."""
