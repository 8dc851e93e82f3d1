"""The demo: a sample bank loaded through the product's own services, and its history run by the real engine."""

from app.demo.loader import load_demo

__all__ = ["load_demo"]
