"""Strategies and their deployments: decides, by the domain's rules, what to order."""
