-- Run once, when the volume is empty. The database `dagster` is made by the image itself.
create database mlflow;
create database attune;
