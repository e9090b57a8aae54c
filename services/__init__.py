"""The services of tickmesh, the rules they share and the chassis they stand on."""
