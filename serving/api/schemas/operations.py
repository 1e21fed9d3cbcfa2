"""What the service says about itself."""

from pydantic import BaseModel, ConfigDict, Field


class OnlineStoreHealth(BaseModel):
    """Whether online features can be read."""

    reachable: bool
    kind: str
    circuit: str = Field(description="closed: read normally; open: left alone, probed once a second")
    last_failure: str | None
    hung_threads: int


class DatabaseHealth(BaseModel):
    """Whether the operational store (events, customers, consent, decisions) answers."""

    reachable: bool
    kind: str = Field(description="sqlite or postgresql")
    circuit: str = Field(description="closed: used normally; open: left alone, probed once a second")
    last_failure: str | None


class ReleaseHealth(BaseModel):
    """The release that answers, and the newer one that could not be loaded, if any."""

    release: str
    data_until: str
    created_at: str
    loaded_at: str
    code_version: str
    failed_release: str | None
    failed_because: str | None


class ProbeAnswer(BaseModel):
    """What a probe is told."""

    status: str = Field(examples=["ok"], description="ok, or starting")


class HealthAnswer(BaseModel):
    """What is loaded and whether the store answers."""

    model_config = ConfigDict(protected_namespaces=())

    status: str = Field(
        examples=["ok"], description="ok, or degraded: answers fall back, or a new release is broken"
    )
    release: ReleaseHealth
    model_versions: dict[str, str]
    access: str = Field(description="keys, or this machine only: no API keys are configured")
    online_store: OnlineStoreHealth
    database: DatabaseHealth
    uptime_seconds: float
