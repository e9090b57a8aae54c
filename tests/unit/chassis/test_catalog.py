"""The one list of services."""

from services.chassis import catalog


def test_names_ports_and_grpc_services_are_each_used_once() -> None:
    services = catalog.SERVICES.values()
    ports = [catalog.EDGE_PORT, catalog.EDGE_ADMIN_PORT, *(service.port for service in services)]
    assert len(set(ports)) == len(ports)
    names = [name for service in services for name in service.public + service.internal]
    assert len(set(names)) == len(names)


def test_dependencies_are_services_of_the_catalog() -> None:
    for service in catalog.SERVICES.values():
        assert set(service.dependencies) <= set(catalog.SERVICES) - {service.name}
