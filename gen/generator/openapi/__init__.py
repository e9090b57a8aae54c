"""Writes the OpenAPI 3.1 document of the REST half of the contract.

Made here because no published plugin shows streams as Server-Sent Events, 64-bit integers as strings, the validation
rules, or samples of the errors.
"""
