"""Adapters to training frameworks. Nothing else in `sniper` needs anything but torch."""
