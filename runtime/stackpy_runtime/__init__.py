"""stackpy's container engine: images, containers, networks and volumes on one Linux host. Use `stackpy_runtime.engine`."""
