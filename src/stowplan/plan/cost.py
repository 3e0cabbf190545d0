"""An estimate and the site's prices in; what a million tokens cost and what energy a token takes, out."""

from __future__ import annotations

from typing import Any

from stowplan.estimate import Estimate
from stowplan.pairing import Pairing

_SECONDS = 3600.0
_MILLION = 1e6


def cost(pairing: Pairing, bands: Estimate) -> dict[str, Any]:
    """Bands in the stable shape of the plan, low to high; nothing where the site gives neither price nor power.

    A device costs the same whether it computes or waits, so that both follow from the rate alone.
    """
    rates = sorted(bands.output_tokens_per_second_per_device, reverse=True)
    if not all(rates):
        return {}
    found: dict[str, Any] = {}
    price, watt = device_hour(pairing), _device_watt(pairing)
    if price is not None:
        use_case = pairing.use_case
        each = [price / _SECONDS / rate * _MILLION for rate in rates]
        share = use_case.output_tokens.mean / use_case.mean_request
        found["costPerMillionOutputTokens"] = [round(value, 4) for value in each]
        found["costPerMillionTokens"] = [round(value * share, 4) for value in each]
        found["currency"] = pairing.site.currency
    if watt is not None:
        found["joulesPerOutputToken"] = [round(watt / rate, 4) for rate in rates]
    return found


def device_hour(pairing: Pairing) -> float | None:
    """Price of one device-hour at the site, its share of a server-hour where that is what the site pays."""
    return _of_device(pairing, pairing.site.prices, pairing.site.server_prices)


def _device_watt(pairing: Pairing) -> float | None:
    return _of_device(pairing, pairing.site.power, pairing.site.server_power)


def _of_device(pairing: Pairing, devices: dict[str, float], servers: dict[str, float]) -> float | None:
    name, count = pairing.spec.server, pairing.server.devices.value
    if name in devices:
        return devices[name]
    return servers[name] / count if name in servers and count else None
