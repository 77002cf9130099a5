"""Fine-tuning of HiFi-GAN on one voice."""
