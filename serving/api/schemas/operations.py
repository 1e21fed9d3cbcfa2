"""What the service says about itself."""

from pydantic import BaseModel, ConfigDict, Field


class OnlineStoreHealth(BaseModel):
    """Whether online features can be read."""

    reachable: bool
    kind: str
    circuit: str = Field(description="closed: read normally; open: left alone, probed once a second")
    last_failure: str | None
    hung_threads: int


class ReleaseHealth(BaseModel):
    """The release that answers, and the newer one that could not be loaded, if any."""

    release: str
    data_until: str
    created_at: str
    loaded_at: str
    code_version: str
    failed_release: str | None
    failed_because: str | None


class HealthAnswer(BaseModel):
    """What is loaded and whether the store answers."""

    model_config = ConfigDict(protected_namespaces=())

    status: str = Field(description="ok, or degraded: answers fall back, or a new release is broken")
    release: ReleaseHealth
    model_versions: dict[str, str]
    online_store: OnlineStoreHealth
    uptime_seconds: float
