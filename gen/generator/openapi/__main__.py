from gen.generator import plugin
plugin.run(lambda r: {"openapi.json": "{}"})
