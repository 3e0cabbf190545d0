"""Platforms: what runs and routes serving pods in a cluster, beside Kubernetes itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stowplan.profiles.fact import Items, Model, Sourced, Text, Versions

Method = Literal["objects", "route", "inference-service", "component-graph"]
Port = Annotated[int, Field(ge=1, le=65535)]


class Api(Model):
    """The version of its kind that a range of the operator's versions takes."""

    versions: Versions
    version: Text


class FrontEnd(Model):
    """The component that callers reach, where the platform has one of its own."""

    name: Text
    command: Items[Text]
    port: Port
    health: Text
    env: dict[str, str] = {}


class PodNames(Model):
    """Regular expressions of what follows the object's name in the names of its pods."""

    single: Text
    group: Text = ""


class PlatformSpec(Sourced):
    """One platform: by which objects it is told what to run, and what of a plan they can say."""

    title: Text
    method: Method
    """`objects`: Kubernetes' own; `route`: those, with a route before them; else the one object of that shape."""
    needs: Items[Literal["gateway", "operatorVersion"]] = ()
    """Keys that the site must give."""
    group: str = ""
    """API group of its kind."""
    kind: str = ""
    apis: Items[Api] = ()
    modes: Items[Literal["aggregated", "disaggregated"]] = ("aggregated", "disaggregated")
    """Ways to serve that its objects can say."""
    spans: bool = True
    """Whether a replica may span hosts."""
    container: Text = "engine"
    """Name by which it finds the engine's container."""
    port: Port | None = None
    """The one port on which it looks for engines; null: any."""
    starts: bool = False
    """It starts builds of engines made for it, and those alone."""
    port_name: Text = "http"
    """Of that port in the engine's container."""
    own_account: bool = False
    """Its operator gives the pods an account, with whose token they find each other."""
    pod_names: PodNames | None = None
    """None: as Kubernetes' own objects name them."""
    answering: dict[str, str] = {}
    """Labels that it gives to the pods that answer, beside those that it is told."""
    front_end: FrontEnd | None = None
    requires: Items[Text] = ()
    """What must be there, or be set, in sentences."""
