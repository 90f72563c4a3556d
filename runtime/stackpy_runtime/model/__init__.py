"""The engine's vocabulary: plain JSON documents, typed.

They are TypedDicts because the same document is a row of the store, a message between the processes and the answer to
`--format json`; objects would be converted at each of these borders. The supervisor validates what clients send
(host/requests.py). Names are the Compose specification's; sizes are bytes, times are seconds, dates RFC 3339 in UTC.
"""

from stackpy_runtime.model.containers import (
    Attachment,
    Container,
    ContainerConfig,
    ContainerState,
    Difference,
    EndpointInfo,
    FileContent,
    Health,
    LogLine,
    Mount,
    PortBinding,
    Probe,
    ProbeConfig,
    SecretMount,
    Status,
)
from stackpy_runtime.model.events import Actor, Event
from stackpy_runtime.model.images import (
    Healthcheck,
    History,
    Image,
    ImageConfig,
    ImageLine,
)
from stackpy_runtime.model.lives import (
    Asked,
    Crash,
    Ending,
    HealthLog,
    HealthResult,
    Hook,
)
from stackpy_runtime.model.objects import (
    Check,
    Network,
    NetworkConfig,
    Progress,
    Secret,
    Volume,
)
from stackpy_runtime.model.recipes import (
    Base,
    BuildOptions,
    ImageSource,
    InlineFile,
    Recipe,
    RecipeStep,
    RunMount,
    Step,
    Unlike,
)
from stackpy_runtime.model.resources import (
    Blkio,
    DeviceRate,
    DeviceWeight,
    Limits,
    Ulimit,
)
from stackpy_runtime.model.usage import (
    CacheUsage,
    ContainerUsage,
    DiskUsage,
    ImageUsage,
    VolumeUsage,
)

__all__ = [
    "Actor",
    "Asked",
    "Attachment",
    "Base",
    "Blkio",
    "BuildOptions",
    "CacheUsage",
    "Check",
    "Container",
    "ContainerConfig",
    "ContainerState",
    "ContainerUsage",
    "Crash",
    "DeviceRate",
    "DeviceWeight",
    "Difference",
    "DiskUsage",
    "Ending",
    "EndpointInfo",
    "Event",
    "FileContent",
    "Health",
    "HealthLog",
    "HealthResult",
    "Healthcheck",
    "History",
    "Hook",
    "Image",
    "ImageConfig",
    "ImageLine",
    "ImageSource",
    "ImageUsage",
    "InlineFile",
    "Limits",
    "LogLine",
    "Mount",
    "Network",
    "NetworkConfig",
    "PortBinding",
    "Probe",
    "ProbeConfig",
    "Progress",
    "Recipe",
    "RecipeStep",
    "RunMount",
    "Secret",
    "SecretMount",
    "Status",
    "Step",
    "Ulimit",
    "Unlike",
    "Volume",
    "VolumeUsage",
]
