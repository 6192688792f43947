"""The ports of the running app, as a dependency of its routes."""

from typing import Annotated, cast

from fastapi import Depends, Request

from app.ports import Ports


async def _ports(request: Request) -> Ports:
    return cast(Ports, request.app.state.ports)  # a coroutine, as a function would be called in a thread of its own


PortsOf = Annotated[Ports, Depends(_ports)]
