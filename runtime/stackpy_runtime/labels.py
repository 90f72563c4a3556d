"""Labels that tie engine objects to what declared them. Apart from model.py, whose documents cost 3 ms to define."""

STACK = "stackpy.stack"
RESOURCE = "stackpy.resource"  # an address: container.web
REPLICA = "stackpy.replica"  # 1..n
GENERATION = "stackpy.generation"
SPEC = "stackpy.spec"  # JSON: the fields that the user had set at the last apply
ANONYMOUS = "stackpy.anonymous"  # a volume made for one container, by its ID
RESERVED_PREFIX = "stackpy."
