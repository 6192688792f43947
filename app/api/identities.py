"""Whom the names of other directories mean here."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.api.credentials import Asking
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT
from app.api.wire import NAME, Ref, Storable, Wire
from app.domain.access import PrincipalRef
from app.domain.errors import Fault, Invalid
from app.domain.foreign import ForeignName
from app.domain.sources import ForeignKind
from app.operations import sources

routes = APIRouter(tags=["control plane"], responses=ASKED)

MAX_IDENTITIES_BYTES = 20_000_000
"""Of a whole directory: a name takes about 150."""

Namespace = Annotated[str, Path(pattern=NAME, max_length=128)]


class IdentityWire(Wire):
    """`value` is the other directory's id, letter for letter. Of everyone it may be empty."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"kind": "user", "value": "e811976d-83df-4cbd-8b9b-5215b18aa874", "principal": "user:ana"}
        },
        strict=False,
    )
    kind: ForeignKind
    value: Annotated[str, StringConstraints(max_length=500), Storable] = ""
    principal: Ref


class IdentitiesBody(Wire):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "identities": [
                    {"kind": "user", "value": "e811976d-83df-4cbd-8b9b-5215b18aa874", "principal": "user:ana"},
                    {"kind": "everyone", "principal": "group:all-staff"},
                ]
            }
        }
    )
    identities: list[IdentityWire] = Field(max_length=100_000)

    def domain(self) -> dict[ForeignName, PrincipalRef]:
        named: dict[ForeignName, PrincipalRef] = {}
        for n, each in enumerate(self.identities):
            if (each.kind, each.value) in named:
                fault = Fault(detail="This name is given a meaning twice.", pointer=f"/identities/{n}")
                raise Invalid("A name means one principal; nothing was changed.", faults=(fault,))
            named[each.kind, each.value] = PrincipalRef(each.principal)
        return named


class IdentitiesOut(BaseModel):
    namespace: str
    identities: list[IdentityWire]


@routes.put("/v1/identities/{namespace}", summary="Say whom the names of another directory mean", responses=SENT)
def put_identities(namespace: Namespace, body: IdentitiesBody, asking: Asking, ports: PortsOf) -> IdentitiesOut:
    """For administrators: these, and no others, from now on. A name that is not here means nobody. What sources have
    brought in under this namespace is open to whom it then means, and to nobody else, when this returns."""
    sources.put_identities(ports, asking, namespace, body.domain())
    return _identities(namespace, body.domain())


@routes.get("/v1/identities/{namespace}", summary="Whom the names of another directory mean")
def get_identities(namespace: Namespace, asking: Asking, ports: PortsOf) -> IdentitiesOut:
    return _identities(namespace, dict(sources.identities(ports, asking, namespace)))


def _identities(namespace: str, named: dict[ForeignName, PrincipalRef]) -> IdentitiesOut:
    return IdentitiesOut(
        namespace=namespace,
        identities=[
            IdentityWire(kind=kind, value=value, principal=ref) for (kind, value), ref in sorted(named.items())
        ],
    )
