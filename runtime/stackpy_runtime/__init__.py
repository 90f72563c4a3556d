"""stackpy's container engine: images, containers, networks and volumes on one Linux host. See `engine`."""
