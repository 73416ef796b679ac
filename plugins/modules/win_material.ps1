#!powershell

# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Shows the material of a Windows host, and carries out what the controller decided: it reads and obeys.
#
# Written for Windows PowerShell 5.1 on .NET Framework 4.6.1 or later, which Windows Server 2016 and later bring along.
# Our tests run this text itself on a modelled Windows, so it keeps to what is modelled there (docs/windows_twin.md).

#AnsibleRequires -CSharpUtil Ansible.Basic

$spec = @{
    options = @{
        accounts = @{ type = "list"; elements = "str"; default = @() }
        directory = @{ type = "str"; required = $true }
        orders = @{
            type = "list"
            elements = "dict"
            default = @()
            options = @{
                instance = @{ type = "str"; required = $true }
                action = @{
                    type = "str"
                    required = $true
                    choices = @("folder", "file", "rights", "pfx", "certificate", "key", "link", "forget", "remove")
                }
                path = @{ type = "str" }
                rights = @{ type = "str" }
                content = @{ type = "str"; no_log = $true }
                password = @{ type = "str"; no_log = $true }
                store = @{ type = "str"; choices = @("My", "CA", "Root") }
                thumbprint = @{ type = "str" }
                target = @{ type = "str" }
            }
        }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)
$directory = $module.Params.directory
$sections = [System.Security.AccessControl.AccessControlSections]"Access, Owner"

# Read

function Get-Sid {
    # LookupAccountName knows services and application pools as well: NT SERVICE\name, IIS APPPOOL\name.
    param([string]$Account)
    try {
        $name = [System.Security.Principal.NTAccount]::new($Account)
        return $name.Translate([System.Security.Principal.SecurityIdentifier]).Value
    }
    catch [System.Security.Principal.IdentityNotMappedException] {
        return $null
    }
}

function Get-Right {
    param([System.IO.FileSystemInfo]$Item)
    return $Item.GetAccessControl($sections).GetSecurityDescriptorSddlForm($sections)
}

function Get-Text {
    param([string]$Path)
    if ([System.IO.File]::Exists($Path)) {
        return [System.IO.File]::ReadAllText($Path)
    }
    return $null
}

function Get-Digest {
    param([string]$Path)
    $algorithm = [System.Security.Cryptography.SHA256]::Create()
    try {
        $digest = $algorithm.ComputeHash([System.IO.File]::ReadAllBytes($Path))
        return [System.BitConverter]::ToString($digest).Replace("-", "").ToLowerInvariant()
    }
    finally {
        $algorithm.Dispose()
    }
}

function Get-Target {
    # An empty text is a folder of somebody else's, where a junction of ours should be.
    param([string]$Path)
    if (-not [System.IO.Directory]::Exists($Path)) {
        return $null
    }
    $item = Get-Item -LiteralPath $Path -Force
    if ($item.LinkType -ne "Junction") {
        return ""
    }
    return [string]@($item.Target)[0]
}

function Get-Generation {
    param([System.IO.DirectoryInfo]$Folder)
    $files = @{}
    foreach ($file in $Folder.GetFiles("*", "AllDirectories")) {
        $name = $file.FullName.Substring($Folder.FullName.Length + 1).Replace("\", "/")
        $files[$name] = @{ sha256 = (Get-Digest -Path $file.FullName); rights = (Get-Right -Item $file) }
    }
    return @{
        files = $files
        manifest = (Get-Text -Path (Join-Path -Path $Folder.FullName -ChildPath "manifest.json"))
        stores = (Get-Text -Path (Join-Path -Path $Folder.FullName -ChildPath "stores.json"))
    }
}

function Get-Instance {
    param([System.IO.DirectoryInfo]$Folder)
    $generations = @{}
    $place = Join-Path -Path $Folder.FullName -ChildPath "generations"
    if ([System.IO.Directory]::Exists($place)) {
        foreach ($each in [System.IO.DirectoryInfo]::new($place).GetDirectories()) {
            $generations[$each.Name] = Get-Generation -Folder $each
        }
    }
    return @{
        rights = (Get-Right -Item $Folder)
        generations = $generations
        current = (Get-Target -Path (Join-Path -Path $Folder.FullName -ChildPath "current"))
        previous = (Get-Target -Path (Join-Path -Path $Folder.FullName -ChildPath "previous"))
    }
}

function Open-Store {
    param([string]$Name, [string]$Mode)
    $store = [System.Security.Cryptography.X509Certificates.X509Store]::new($Name, "LocalMachine")
    $store.Open($Mode)
    return $store
}

function Get-PrivateKey {
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate)
    $key = [System.Security.Cryptography.X509Certificates.RSACertificateExtensions]::GetRSAPrivateKey($Certificate)
    if ($null -eq $key) {
        $key = [System.Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::GetECDsaPrivateKey($Certificate)
    }
    return $key
}

function Get-KeyPath {
    # Both sorts of providers keep a machine's key in a file, whose rights are those of the key.
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate)
    $key = Get-PrivateKey -Certificate $Certificate
    if ($null -eq $key) {
        return $null
    }
    if ($key -is [System.Security.Cryptography.RSACryptoServiceProvider]) {
        $name = $key.CspKeyContainerInfo.UniqueKeyContainerName
    }
    else {
        $name = $key.Key.UniqueName
    }
    $key.Dispose()
    $crypto = Join-Path -Path ([System.Environment]::GetFolderPath("CommonApplicationData")) -ChildPath "Microsoft\Crypto"
    foreach ($folder in "RSA\MachineKeys", "Keys") {
        $path = Join-Path -Path (Join-Path -Path $crypto -ChildPath $folder) -ChildPath $name
        if ([System.IO.File]::Exists($path)) {
            return $path
        }
    }
    return $null
}

function Get-StoreContent {
    # The rights on a key are looked at where the certificate is one of ours.
    param([string]$Store, [string]$Ours)
    $rows = @{}
    $opened = Open-Store -Name $Store -Mode "ReadOnly"
    try {
        foreach ($certificate in $opened.Certificates) {
            $rights = $null
            if ($certificate.HasPrivateKey -and $Ours.Contains($certificate.Thumbprint)) {
                $path = Get-KeyPath -Certificate $certificate
                if ($path) {
                    $rights = Get-Right -Item ([System.IO.FileInfo]::new($path))
                }
            }
            $rows[$certificate.Thumbprint] = $rights
        }
    }
    finally {
        $opened.Close()
    }
    return $rows
}

function Get-State {
    $instances = @{}
    $ours = ""
    $rights = $null
    $link = $false
    if ([System.IO.Directory]::Exists($directory)) {
        $top = Get-Item -LiteralPath $directory -Force
        $rights = Get-Right -Item $top
        $link = [bool]$top.LinkType
        foreach ($folder in $top.GetDirectories()) {
            $instances[$folder.Name] = Get-Instance -Folder $folder
            foreach ($generation in $instances[$folder.Name].generations.Values) {
                $ours = $ours + $generation.stores
            }
        }
    }
    $sids = @{}
    foreach ($account in $module.Params.accounts) {
        $sids[$account] = Get-Sid -Account $account
    }
    $stores = @{}
    foreach ($store in "My", "CA", "Root") {
        $stores[$store] = Get-StoreContent -Store $store -Ours $ours
    }
    return @{
        build = [System.Environment]::OSVersion.Version.Build
        user = [System.Security.Principal.WindowsIdentity]::GetCurrent().User.Value
        sids = $sids
        rights = $rights
        link = $link
        instances = $instances
        stores = $stores
    }
}

# Obey

function Assert-Inside {
    param([string]$Path)
    $full = [System.IO.Path]::GetFullPath($Path)
    $same = $full.Equals($directory, [System.StringComparison]::OrdinalIgnoreCase)
    if (-not $same -and -not $full.StartsWith($directory + "\", [System.StringComparison]::OrdinalIgnoreCase)) {
        throw "$Path does not lie in $directory"
    }
}

function Grant-Right {
    param([System.IO.FileSystemInfo]$Item, [string]$Rights)
    $security = $Item.GetAccessControl($sections)
    $security.SetSecurityDescriptorSddlForm($Rights, "Access")
    $Item.SetAccessControl($security)
}

function Add-Folder {
    # A folder has its rights from birth; without any it inherits.
    param([string]$Path, [string]$Rights)
    if (-not $Rights) {
        [void][System.IO.Directory]::CreateDirectory($Path)
    }
    elseif ([System.IO.Directory]::Exists($Path)) {
        Grant-Right -Item ([System.IO.DirectoryInfo]::new($Path)) -Rights $Rights
    }
    else {
        $security = [System.Security.AccessControl.DirectorySecurity]::new()
        $security.SetSecurityDescriptorSddlForm($Rights, "Access")
        [void][System.IO.Directory]::CreateDirectory($Path, $security)
    }
}

function Write-File {
    # A new file, on the disk before anything counts on it.
    param([string]$Path, [string]$Content)
    $data = [System.Convert]::FromBase64String($Content)
    $stream = [System.IO.FileStream]::new($Path, "CreateNew", "Write", "None")
    try {
        $stream.Write($data, 0, $data.Length)
        $stream.Flush($true)
    }
    finally {
        $stream.Dispose()
    }
}

function Add-Certificate {
    param([string]$Store, [System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate)
    $opened = Open-Store -Name $Store -Mode "ReadWrite"
    try {
        $opened.Add($Certificate)
    }
    finally {
        $opened.Close()
    }
}

function Grant-Key {
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate, [string]$Rights)
    $path = Get-KeyPath -Certificate $Certificate
    if (-not $path) {
        throw "the private key of $($Certificate.Thumbprint) lies in no file of this machine"
    }
    Grant-Right -Item ([System.IO.FileInfo]::new($path)) -Rights $Rights
}

function Clear-Key {
    param([System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate)
    $key = Get-PrivateKey -Certificate $Certificate
    if ($key -is [System.Security.Cryptography.RSACryptoServiceProvider]) {
        $key.PersistKeyInCsp = $false
        $key.Clear()
    }
    elseif ($null -ne $key) {
        $key.Key.Delete()
    }
}

function Import-Pfx {
    # Never through a file. Who may use the key is set before its certificate can be found.
    param([string]$Content, [string]$Password, [string]$Rights)
    $flags = [System.Security.Cryptography.X509Certificates.X509KeyStorageFlags]"MachineKeySet, PersistKeySet"
    $found = [System.Security.Cryptography.X509Certificates.X509Certificate2Collection]::new()
    $found.Import([System.Convert]::FromBase64String($Content), $Password, $flags)
    foreach ($certificate in $found) {
        if (-not $certificate.HasPrivateKey) {
            Add-Certificate -Store "CA" -Certificate $certificate
            continue
        }
        try {
            Grant-Key -Certificate $certificate -Rights $Rights
            Add-Certificate -Store "My" -Certificate $certificate
        }
        catch {
            Clear-Key -Certificate $certificate
            throw
        }
    }
}

function Find-Certificate {
    param([System.Security.Cryptography.X509Certificates.X509Store]$Store, [string]$Thumbprint)
    foreach ($certificate in $Store.Certificates) {
        if ($certificate.Thumbprint -eq $Thumbprint) {
            return $certificate
        }
    }
    return $null
}

function Clear-Certificate {
    # The key goes first: stopped in between, a certificate without its key is left, which is found and taken out again.
    param([string]$Store, [string]$Thumbprint)
    $opened = Open-Store -Name $Store -Mode "ReadWrite"
    try {
        $certificate = Find-Certificate -Store $opened -Thumbprint $Thumbprint
        if ($null -eq $certificate) {
            return
        }
        if ($certificate.HasPrivateKey) {
            Clear-Key -Certificate $certificate
        }
        $opened.Remove($certificate)
    }
    finally {
        $opened.Close()
    }
}

function Grant-KeyOf {
    param([string]$Thumbprint, [string]$Rights)
    $opened = Open-Store -Name "My" -Mode "ReadOnly"
    try {
        $certificate = Find-Certificate -Store $opened -Thumbprint $Thumbprint
        if ($null -eq $certificate) {
            throw "there is no certificate $Thumbprint in LocalMachine\My"
        }
        Grant-Key -Certificate $certificate -Rights $Rights
    }
    finally {
        $opened.Close()
    }
}

function Connect-Folder {
    # Deleting a junction leaves the folder alone that it leads to.
    param([string]$Path, [string]$Target)
    if ([System.IO.Directory]::Exists($Path)) {
        [System.IO.Directory]::Delete($Path)
    }
    [void](New-Item -ItemType Junction -Path $Path -Value $Target)
}

function Clear-Path {
    param([string]$Path)
    if ([System.IO.Directory]::Exists($Path)) {
        [System.IO.Directory]::Delete($Path, $true)
    }
    else {
        [System.IO.File]::Delete($Path)
    }
}

function Invoke-Order {
    param([System.Collections.IDictionary]$Order)
    if ($Order.path) {
        Assert-Inside -Path $Order.path
    }
    switch ($Order.action) {
        "folder" { Add-Folder -Path $Order.path -Rights $Order.rights }
        "file" { Write-File -Path $Order.path -Content $Order.content }
        "rights" { Grant-Right -Item ([System.IO.FileInfo]::new($Order.path)) -Rights $Order.rights }
        "pfx" { Import-Pfx -Content $Order.content -Password $Order.password -Rights $Order.rights }
        "certificate" {
            $data = [System.Convert]::FromBase64String($Order.content)
            $certificate = [System.Security.Cryptography.X509Certificates.X509Certificate2]::new($data)
            Add-Certificate -Store $Order.store -Certificate $certificate
        }
        "key" { Grant-KeyOf -Thumbprint $Order.thumbprint -Rights $Order.rights }
        "link" { Connect-Folder -Path $Order.path -Target $Order.target }
        "forget" { Clear-Certificate -Store $Order.store -Thumbprint $Order.thumbprint }
        "remove" { Clear-Path -Path $Order.path }
    }
}

$module.Result.failures = @{}
$module.Result.changed = $module.Params.orders.Count -gt 0
if (-not $module.CheckMode) {
    foreach ($order in $module.Params.orders) {
        if ($module.Result.failures.ContainsKey($order.instance)) {
            continue
        }
        try {
            Invoke-Order -Order $order
        }
        catch {
            $module.Result.failures[$order.instance] = $_.Exception.GetBaseException().Message
        }
    }
}
$module.Result.state = Get-State
$module.ExitJson()
